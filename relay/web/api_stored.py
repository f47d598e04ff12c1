"""The API of what terminals have recorded: search (0x9205), playback (0x9201) and its control (0x9202)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from relay.core.playback import Playbacks, no_session
from relay.core.playback_session import Playback
from relay.core.playhead import Wish
from relay.core.recordings import Recordings
from relay.core.stored import recording_of
from relay.jt808.messages.video import PlaybackMode
from relay.web.models import PlayQuery
from relay.web.models_stored import (
    PlaybackControl,
    PlaybackList,
    PlaybackQuery,
    PlaybackStart,
    PlaybackStarted,
    PlaybackView,
    Search,
    StoredList,
)
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route
from relay.web.urls import PlayAddresses

MODES = {
    "normal": PlaybackMode.NORMAL, "fast": PlaybackMode.FAST_FORWARD, "rewind": PlaybackMode.KEYFRAME_REWIND, "keyframes": PlaybackMode.KEYFRAMES,
}  # fmt: skip


#: ``core.audit.Audit.record``
Record = Callable[..., None]


def no_record(*_: object, **__: object) -> None:
    """Where there is no audit."""


async def known_sim(names: Names, call: Call) -> str:
    """The terminal that the path names; 404 for a name that nobody has."""
    name = call.path["sim"]
    sim = await names.sim(name)
    if sim is None:
        raise Problem(404, f"Terminal {name} is not known.", code="unknown_terminal", hint="Add it with POST /api/v1/terminals.")
    return sim


class StoredApi:
    """Handlers and their routes."""

    def __init__(self, recordings: Recordings, playbacks: Playbacks, names: Names, addresses: PlayAddresses, record: Record = no_record) -> None:
        self._recordings = recordings
        self._playbacks = playbacks
        self._names = names
        self._addresses = addresses
        self._record = record

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        channel, playback = "/api/v1/terminals/{sim}/channels/{channel:int}", "/api/v1/playbacks/{id}"
        viewer, operator, tag = Permission.VIEWER, Permission.OPERATOR, "recordings on terminals"
        yield Route(
            method="POST", path=f"{channel}/recordings/search", handler=self.search, permission=viewer, body=Search, body_optional=True,
            answer=StoredList, tag=tag, summary="What the terminal has recorded of a channel, 0 = of all (0x9205)", errors=(409, 429, 502, 503, 504),
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{channel}/playback", handler=self.start, permission=operator, body=PlaybackStart, answer=PlaybackStarted, status=201,
            tag=tag, summary="Play a recording back (0x9201), and wait until it runs", errors=(409, 502, 503, 504),
        )  # fmt: skip
        yield Route(
            method="GET", path="/api/v1/playbacks", handler=self.list, permission=viewer, query=PlaybackQuery, answer=PlaybackList, tag=tag,
            summary="Playbacks that run", scope="filtered",
        )  # fmt: skip
        yield Route(
            method="GET", path=playback, handler=self.get, permission=viewer, answer=PlaybackView, tag=tag, summary="One playback", scope="filtered"
        )
        yield Route(
            method="GET", path=f"{playback}/play", handler=self.play, permission=viewer, query=PlayQuery, answer=PlaybackStarted, tag=tag,
            summary="Its play URLs with fresh tokens", errors=(410,), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{playback}/control", handler=self.control, permission=operator, body=PlaybackControl, answer=PlaybackView, tag=tag,
            summary="Pause, resume, speed, seek, key frames only, rewind (0x9202)", errors=(409, 410, 429, 502, 503, 504), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="DELETE", path=playback, handler=self.stop, permission=operator, status=204, tag=tag, summary="End a playback whoever watches",
            errors=(410,), scope="filtered",
        )  # fmt: skip

    def _running(self, call: Call) -> Playback:
        """The session that the path names, if it runs and is the account's to see."""
        session = self._known(call)
        return session if not session.over else self._playbacks.need(session.id)

    def _known(self, call: Call) -> Playback:
        """The same, running or over."""
        ident = call.path["id"]
        session = self._playbacks.get(ident)
        if session is None or not call.sees(session.key.sim):
            raise no_session(ident)
        return session

    def _note(self, call: Call, session: Playback, what: str) -> None:
        """Into the audit."""
        self._record(call.principal.name, "playback", f"{session.key.sim}_{session.key.channel}", f"playback {session.id}: {what}", call.request.address)

    async def search(self, call: Call) -> dict[str, Any]:
        """Ask, and wait for the whole list."""
        body: Search = call.body if call.body is not None else Search()
        criteria = body.criteria()
        sim = await known_sim(self._names, call)
        found = await self._recordings.search(sim, int(call.path["channel"]), criteria, body.timeout_s)
        items = [recording_of(each) for each in found.items]
        return {"items": items, "total": len(items), "next": None, "seconds": round(found.seconds, 3), "note": found.note}

    async def start(self, call: Call) -> dict[str, Any]:
        """Ask, wait for the first picture, answer with where to play."""
        body: PlaybackStart = call.body
        if body.speed != 1 and body.mode not in ("fast", "rewind"):
            raise Problem(400, f"A speed belongs to the modes fast and rewind, not to {body.mode}.", code="bad_speed")
        wish = Wish(body.criteria(), MODES[body.mode], body.speed)
        sim = await known_sim(self._names, call)
        who = call.principal.name
        session = await self._playbacks.start(sim, int(call.path["channel"]), wish, "api", who, body.timeout_s, body.replace)
        criteria = session.wish.criteria
        self._note(call, session, f"{criteria.begin} to {criteria.end}")
        return self._started(call, session, PlayQuery())

    def _started(self, call: Call, session: Playback, query: PlayQuery) -> dict[str, Any]:
        play = self._addresses.play(call.request, session.key, query, call.principal.name)
        return {**session.as_dict(), "urls": play.urls, "token": play.token, "expires": play.expires}

    def list(self, call: Call) -> dict[str, Any]:
        """Those that run."""
        sessions = self._playbacks.all() if call.query.all else self._playbacks.running()
        items = [session.as_dict() for session in sessions if call.sees(session.key.sim)]
        return {"items": items, "total": len(items), "next": None}

    def get(self, call: Call) -> dict[str, Any]:
        """One, running or over."""
        return self._known(call).as_dict()

    def play(self, call: Call) -> dict[str, Any]:
        """Addresses only."""
        return self._started(call, self._running(call), call.query)

    async def control(self, call: Call) -> dict[str, Any]:
        """Tell the terminal, wait for its answer."""
        body: PlaybackControl = call.body
        if (body.action == "speed" and body.speed is None) or (body.action not in ("speed", "rewind") and body.speed is not None):
            raise Problem(400, 'A speed (1, 2, 4, 8, 16) belongs to {"action": "speed"} and to "rewind".', code="bad_speed")
        if (body.time is None) == (body.action == "seek"):
            raise Problem(400, 'A time belongs to {"action": "seek"}, and to nothing else.', code="bad_time")
        session = self._running(call)
        await session.control(body.action, body.speed or 1, body.time, body.timeout_s)
        self._note(call, session, body.action)
        return session.as_dict()

    def stop(self, call: Call) -> None:
        """End it."""
        session = self._running(call)
        session.stop(f"stopped by {call.principal.name}")
        self._note(call, session, "stopped")
