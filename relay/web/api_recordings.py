"""The API's recordings: every byte of a terminal's or a superior's connections to a file on the relay, for ``jt1078relay replay`` and ``decode --pcap``.

The files hold authentication codes, plates and positions, so this is for administrators, and their content is not served here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from relay.errors import RelayError
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route


class Recordings(Protocol):
    """``relay.net.recorder.Recorder``, as far as it is needed here."""

    @property
    def running(self) -> dict[str, Path]: ...

    def start(self, subject: str, seconds: float = 0.0) -> Path: ...

    def stop(self, subject: str) -> Path | None: ...


class RecordingStart(msgspec.Struct, forbid_unknown_fields=True):
    """How long."""

    seconds: Annotated[float, Meta(ge=1, le=604800, description="It ends by itself after so long.")] = 3600.0


class RecordingView(msgspec.Struct):
    """One recording that runs."""

    subject: str  #: the terminal's number, or ``superior:NAME``
    file: str  #: on the relay
    bytes: int


class RecordingList(msgspec.Struct):
    """All that run."""

    items: list[RecordingView]
    total: int
    next: str | None = None


class RecordingApi:
    """Handlers and their routes."""

    def __init__(self, recordings: Recordings | None, names: Names, superiors: Iterable[str] = ()) -> None:
        self._recordings = recordings
        self._names = names
        self._superiors = frozenset(superiors)  #: the configured ones

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        admin = Permission.ADMIN
        yield Route(
            method="GET", path="/api/v1/recordings", handler=self.list, permission=admin, answer=RecordingList, tag="recordings",
            summary="Recordings of connections that run", errors=(409,),
        )  # fmt: skip
        for path, whose in (("/api/v1/terminals/{sim}/recording", "a terminal's connections"), ("/api/v1/superiors/{name}/recording", "a superior's links")):
            yield Route(
                method="POST", path=path, handler=self.start, permission=admin, body=RecordingStart, body_optional=True, answer=RecordingView, status=201,
                tag="recordings", summary=f"Record every byte of {whose} to a file on the relay", errors=(409, 503),
            )  # fmt: skip
            yield Route(
                method="DELETE", path=path, handler=self.stop, permission=admin, status=204, tag="recordings", summary=f"End the recording of {whose}",
                errors=(409, 503),
            )  # fmt: skip

    def _made(self) -> Recordings:
        if self._recordings is None:
            raise Problem(409, "Nothing can be recorded here.", code="recordings_off", hint="log.record_dir of the configuration says where recordings go.")
        return self._recordings

    async def _subject(self, call: Call) -> str:
        superior = call.path.get("name")
        if superior is not None:
            if superior not in self._superiors:
                raise Problem(404, f"There is no superior {superior}.", code="unknown_superior", hint="[[superior]] of the configuration names them.")
            return f"superior:{superior}"
        name = call.path["sim"]
        sim = await self._names.sim(name)
        if sim is None:
            raise Problem(404, f"There is no terminal {name}.", code="unknown_terminal")
        return sim

    def list(self, call: Call) -> dict[str, Any]:
        """What runs."""
        items = [_view(subject, path) for subject, path in sorted(self._made().running.items())]
        return {"items": items, "total": len(items), "next": None}

    async def start(self, call: Call) -> dict[str, Any]:
        """Begin, its present connections included."""
        recordings = self._made()
        subject = await self._subject(call)
        seconds = call.body.seconds if call.body is not None else RecordingStart().seconds
        try:
            path = recordings.start(subject, seconds)
        except RelayError as problem:
            raise Problem(503, str(problem), code="recording_not_possible", hint="The relay's log says why.") from None
        return _view(subject, path)

    async def stop(self, call: Call) -> None:
        """End it."""
        recordings = self._made()
        subject = await self._subject(call)
        if recordings.stop(subject) is None:
            raise Problem(404, f"{subject} is not being recorded.", code="unknown_recording", hint="GET /api/v1/recordings lists what runs.")


def _view(subject: str, path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
    except OSError:  # somebody has moved it
        size = 0
    return {"subject": subject, "file": str(path), "bytes": size}
