"""Writes recordings of connections while they run: one file for each subject, with all its connections, from its first byte on.

A subject is a terminal's number (``phone_key``), or ``superior:NAME``. Which ones are recorded is configured, or said at run time (``start``, ``stop``).

    tap = recorder.tap("jt808", transport, peer, local)      when a connection is made
    tap.data_in(data), tap.data_out(data)                    for every portion, either way
    tap.close(reason)

A link of JT/T 809 is one tap too: ``tap("jt809", …, kind="main", name=NAME, initiator="us")`` for the main link, which we open; ``kind="sub"`` without a name
for a subordinate link, and ``tap.named("superior:NAME")`` as soon as its login has said whose it is. ``replay`` then listens for the one and makes the other.

Who a terminal is stands only in its first frame, or first media packet, so a tap keeps what comes until then (``UNNAMED_BYTES`` at most) and writes it
or lets it go. A connection of a subject that nobody records costs one call a portion after that. A full or broken disk ends the recording with one line
in the log, never the connection.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, cast

from twisted.logger import Logger

from relay.core.inspector import Inspector
from relay.errors import FrameError, RelayError
from relay.identity import phone_key
from relay.jt808.framing import Deframer
from relay.jt808.header import decode_frame
from relay.jt1078.packet import MAGIC, detect_sim_bytes, measure, sim_text
from relay.net.cutter import Cutter
from relay.net.recording import Event, Kind, RecordingWriter
from relay.net.scrub import Scrubber
from relay.settings import Log

_log = Logger()

#: kept of a connection that has not said yet whose it is: a registration and what follows at once, or one media packet of the longest kind and some
UNNAMED_BYTES = 1 << 17
#: recordings at a time; each is an open file
RECORDINGS_MAX = 256
#: of one file; an hour of main stream at 4 Mbit/s is 1.8 GB
MAX_BYTES = 1 << 30
#: taps of one subject that ``start`` can reach: a terminal has a link and its channels
_TAPS_MAX = 64
#: of one UDP port; a terminal behind NAT gets a new one now and then
_ADDRESSES_MAX = 8192

ANY = "*"

#: who opened a connection
Initiator = Literal["peer", "us"]


class RecordingNotPossible(RelayError):  # noqa: N818 (what it says)
    """A recording cannot be begun; the text says why."""


class Filter(Protocol):
    """What stands between the taps and the file: ``relay.net.scrub.Scrubber``."""

    def feed(self, event: Event) -> Iterable[Event]: ...

    def name(self, subject: str) -> str:
        """The subject as it may be told."""


def recorder_of(settings: Log, wall: Callable[[], float], inspector: Inspector | None = None) -> Recorder:
    """What the configuration asks for; without ``log.record_dir`` nothing is recorded, and the taps serve the inspector alone."""
    directory = Path(settings.record_dir) if settings.record_dir else None
    scrubber = Scrubber if settings.record_scrub else None
    return Recorder(directory, wall, settings.record, scrubber=scrubber, max_bytes=settings.record_max_bytes, inspector=inspector)


class Recorder:
    """All recordings of the process. ``wall``: seconds since 1970; ``scrubber`` makes the filter of each file."""

    def __init__(
        self,
        directory: Path | None,
        wall: Callable[[], float],
        subjects: Iterable[str] = (),
        *,
        scrubber: Callable[[], Filter] | None = None,
        max_bytes: int = MAX_BYTES,
        inspector: Inspector | None = None,
    ) -> None:
        self.directory = directory  #: None: nothing is recorded
        self.inspector = Inspector(wall, lambda *_: {}) if inspector is None else inspector  # at an own one nobody looks
        self.max_bytes = max_bytes
        self.wall = wall
        self._wanted = {_subject(one) for one in subjects}
        self._scrubber = scrubber
        self._files: dict[str, _File] = {}
        self._taps: dict[str, set[Tap]] = {}
        self._links = 0

    # ---- what is recorded -----------------------------------------------------------------------------------------------

    @property
    def running(self) -> dict[str, Path]:
        """Subjects and their files."""
        return {subject: file.path for subject, file in self._files.items()}

    def want(self, subjects: Iterable[str]) -> None:
        """Record these from now on, and of those that run no others: the configuration has changed."""
        wanted = {_subject(one) for one in subjects}
        for subject in self._wanted - wanted - {ANY}:
            self.stop(subject)
        for subject in [one for one in self._files if one not in wanted and (ANY not in wanted or one.startswith("superior:"))]:
            self.stop(subject)
        self._wanted = wanted
        for subject in list(self._taps):
            file = self.file_for(subject)
            if file is not None:
                for tap in list(self._taps.get(subject, ())):
                    tap.begin(file)

    def start(self, subject: str, seconds: float = 0.0) -> Path:
        """Record a subject from now on, its present connections too; ``seconds`` 0 = until it is stopped. Gives the file."""
        subject = _subject(subject)
        self._wanted.add(subject)
        file = self._file(subject)
        if file is None:
            self._wanted.discard(subject)
            where = f"in {self.directory}" if self.directory is not None else "while log.record_dir does not say where they go"
            raise RecordingNotPossible(f"no recording of {subject} can be made {where}")
        file.until = self.wall() + seconds if seconds else 0.0
        for tap in list(self._taps.get(subject, ())):
            tap.begin(file)
        return file.path

    def stop(self, subject: str) -> Path | None:
        """End a subject's recording; gives the file, None if there was none."""
        subject = _subject(subject)
        self._wanted.discard(subject)
        file = self._files.get(subject)
        if file is not None:
            file.end("stopped")
            return file.path
        return None

    def close(self) -> None:
        """End all recordings."""
        for file in list(self._files.values()):
            file.end("the relay stops")

    # ---- connections ----------------------------------------------------------------------------------------------------

    def tap(
        self, protocol: str, transport: str, peer: str, local: str, *, kind: str = "", name: str = "", initiator: Initiator = "peer"
    ) -> Tap:
        """What a connection tells its bytes. ``name``: of a superior, whose main link is known by configuration; ``initiator``: who connected."""
        self._links += 1
        info = {"protocol": protocol, "transport": transport, "peer": peer, "local": local, "initiator": initiator}
        if kind:
            info["kind"] = kind
        if name:
            info["name"] = name
        tap = Tap(self, self._links, info)
        if name:
            tap.named(f"superior:{name}")
        return tap

    # ---- the taps' side -------------------------------------------------------------------------------------------------

    def file_for(self, subject: str) -> _File | None:
        """The file, if the subject is recorded."""
        if subject in self._wanted or (ANY in self._wanted and not subject.startswith("superior:")):
            return self._file(subject)
        return None

    def _file(self, subject: str) -> _File | None:
        file = self._files.get(subject)
        if file is None:
            if self.directory is None:
                return None
            if len(self._files) >= RECORDINGS_MAX:
                _log.warn("{subject} is not recorded: {count} recordings run already", subject=subject, count=RECORDINGS_MAX)
                return None
            try:
                file = self._files[subject] = _File(self, self.directory, subject, self._scrubber() if self._scrubber else None)
            except OSError as problem:
                _log.error("{subject} cannot be recorded in {directory}: {problem}", subject=subject, directory=str(self.directory), problem=str(problem))
                return None
            _log.info("recording {subject} to {path}", subject=file.told, path=str(file.path))
        return file

    def ended(self, file: _File) -> None:
        """A file is closed."""
        if self._files.get(file.subject) is file:
            del self._files[file.subject]

    def join(self, subject: str, tap: Tap) -> None:
        """A connection has a name."""
        taps = self._taps.setdefault(subject, set())
        if len(taps) < _TAPS_MAX:
            taps.add(tap)

    def leave(self, subject: str, tap: Tap) -> None:
        """It is gone."""
        taps = self._taps.get(subject)
        if taps is not None:
            taps.discard(tap)
            if not taps:
                del self._taps[subject]


class _File:
    """One recording being written."""

    def __init__(self, owner: Recorder, directory: Path, subject: str, filter: Filter | None) -> None:
        self.subject = subject
        self.told = filter.name(subject) if filter is not None else subject
        self.until = 0.0
        self._owner = owner
        self._filter = filter
        self.path, raw = _create(directory, self.told, owner.wall())
        self._writer: RecordingWriter | None = RecordingWriter(raw)

    @property
    def over(self) -> bool:
        """Nothing more comes into it."""
        return self._writer is None

    def write(self, event: Event) -> bool:
        """False when the recording is over."""
        if self._writer is None:
            return False
        try:
            for one in self._filter.feed(event) if self._filter is not None else (event,):
                self._writer.write(one)
        except OSError as problem:
            _log.error("recording {path} ends: {problem}", path=str(self.path), problem=str(problem))
            self._close()
            return False
        if self._writer.size > self._owner.max_bytes:
            self.end(f"the limit of {self._owner.max_bytes} bytes")
        elif self.until and event.time >= self.until * 1_000_000:
            self.end("its time is over")
        return self._writer is not None

    def end(self, reason: str) -> None:
        """Close the file, and say in it why."""
        if self._writer is None:
            return
        note = Event(Kind.NOTE, 0, round(self._owner.wall() * 1_000_000), info={"ended": reason})
        try:
            for one in self._filter.feed(note) if self._filter is not None else (note,):
                self._writer.write(one)
        except OSError as problem:
            _log.error("recording {path}: {problem}", path=str(self.path), problem=str(problem))
        _log.info("recording {path} ended: {reason}", path=str(self.path), reason=reason)
        self._close()

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except OSError as problem:
                _log.error("recording {path}: {problem}", path=str(self.path), problem=str(problem))
        self._owner.ended(self)


class Tap:
    """One connection's way into a recording."""

    __slots__ = ("_closed", "_cutter", "_file", "_info", "_kept", "_kept_bytes", "_link", "_named", "_peek", "_recorder", "_subject", "deaf", "inspector")

    def __init__(self, recorder: Recorder, link: int, info: dict[str, Any]) -> None:
        self._recorder = recorder
        self._link = link
        self._info = info
        self._file: _File | None = None
        self._subject = ""
        self._named = False
        self.deaf = False  #: nobody records this connection: only who inspects may still want to hear
        self.inspector = recorder.inspector
        self._closed = False
        self._cutter: Cutter | None = None
        self._kept: list[Event] = [Event(Kind.OPEN, link, self._now(), info=info)]
        self._kept_bytes = 0
        self._peek: _Peek | None = _PeekTerminal() if info["protocol"] == "jt808" else _PeekMedia() if info["protocol"] == "jt1078" else None

    def _now(self) -> int:
        return round(self._recorder.wall() * 1_000_000)

    def data_in(self, data: bytes) -> None:
        """Bytes of the peer."""
        if not self._named:
            self._keep(Kind.IN, data)
            if self._peek is not None and not self._named:
                subject = self._peek.feed(data)
                if subject:
                    self.named(subject)
        elif self._file is not None:
            self._write(Event(Kind.IN, self._link, self._now(), bytes(data)))
        if self.inspector.watched:
            self._show("in", data)

    def data_out(self, data: bytes) -> None:
        """Bytes of ours."""
        if not self._named:
            self._keep(Kind.OUT, data)
        elif self._file is not None:
            self._write(Event(Kind.OUT, self._link, self._now(), bytes(data)))
        if self.inspector.watched:
            self._show("out", data)

    def _show(self, direction: str, data: bytes) -> None:
        if self._cutter is None:
            self._cutter = Cutter(self._info)
        self._cutter.feed(self.inspector, direction, self._subject, bytes(data))

    def close(self, reason: str) -> None:
        """The connection is gone; the tap is of no use after it."""
        if self._closed:
            return
        self._closed = True
        if self._file is not None:
            self._write(Event(Kind.CLOSE, self._link, self._now(), info={"reason": reason}))
            self._file = None
        self.deaf = True
        self._named = True
        self._kept = []
        if self._subject:
            self._recorder.leave(self._subject, self)

    def named(self, subject: str) -> None:
        """It is known now whose connection this is."""
        if self._named:
            return
        self._named = True
        self._subject = subject
        self._peek = None
        self._recorder.join(subject, self)
        kept, self._kept = self._kept, []
        self._file = self._recorder.file_for(subject)
        self.deaf = self._file is None
        for event in kept if self._file is not None else ():
            self._write(event)

    def begin(self, file: _File) -> None:
        """Record from here on: in the middle of the connection, which the recording says."""
        if self._closed:
            return
        if self._file is None or self._file.over:  # one that was ended: this tap would have met it with its next bytes
            self._file = file
            self.deaf = False
            now = self._now()
            self._write(Event(Kind.OPEN, self._link, now, info=self._info))
            self._write(Event(Kind.NOTE, self._link, now, info={"begun": "in the middle of the connection"}))

    def _write(self, event: Event) -> None:
        if self._file is not None and not self._file.write(event):
            self._file = None
            self.deaf = True

    def _keep(self, kind: Kind, data: bytes) -> None:
        self._kept_bytes += len(data) + 64
        if self._kept_bytes > UNNAMED_BYTES:  # nobody that we record begins like this
            self._named = self.deaf = True
            self._kept = []
            self._peek = None
            return
        if self._recorder.directory is not None:
            self._kept.append(Event(kind, self._link, self._now(), bytes(data)))


class DatagramTaps:
    """A UDP port's way into recordings: a tap for each address. Addresses come and go without a word, so the oldest are forgotten."""

    def __init__(self, recorder: Recorder, protocol: str, local: str, kind: str = "") -> None:
        self._recorder = recorder
        self._protocol = protocol
        self._local = local
        self._kind = kind
        self._taps: OrderedDict[tuple[str, int], Tap] = OrderedDict()

    def _tap(self, address: tuple[str, int]) -> Tap:
        tap = self._taps.get(address)
        if tap is None:
            if len(self._taps) >= _ADDRESSES_MAX:
                self._taps.popitem(last=False)[1].close("forgotten")
            peer = f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
            tap = self._taps[address] = self._recorder.tap(self._protocol, "udp", peer, self._local, kind=self._kind)
        return tap

    def data_in(self, datagram: bytes, address: tuple[str, int]) -> None:
        """A datagram from an address."""
        self._tap(address).data_in(datagram)

    def data_out(self, datagram: bytes, address: tuple[str, int]) -> None:
        """A datagram to an address."""
        self._tap(address).data_out(datagram)

    def close(self, reason: str) -> None:
        """The port is closed."""
        for tap in self._taps.values():
            tap.close(reason)
        self._taps.clear()


class _Peek(Protocol):
    def feed(self, data: bytes) -> str: ...


class _PeekTerminal:
    """The number in the first sound frame."""

    def __init__(self) -> None:
        self._deframer = Deframer()

    def feed(self, data: bytes) -> str:
        for piece in self._deframer.feed(data):
            try:
                if isinstance(piece, bytes):
                    return phone_key(decode_frame(piece, lenient=True)[0].phone)
            except FrameError:
                continue
        return ""


class _PeekMedia:
    """The number in the first packet."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> str:
        self._data += data
        at = self._data.find(MAGIC)
        while at >= 0:
            width = detect_sim_bytes(self._data, at)
            if width:
                return phone_key(sim_text(self._data[at + 8 : at + 8 + width]))
            if max(measure(self._data, at, 6), measure(self._data, at, 10)) >= 0:
                return ""  # not whole yet
            at = self._data.find(MAGIC, at + 4)
        self._data = self._data[-3:]
        return ""


def _subject(name: str) -> str:
    return name if name == ANY or name.startswith("superior:") else phone_key(name)


def _create(directory: Path, subject: str, now: float) -> tuple[Path, BinaryIO]:
    """A new file that only its owner can read: it holds codes, plates and positions."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = f"{re.sub(r'[^0-9A-Za-z._-]', '-', subject) or 'unnamed'}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    for number in range(1000):
        path = directory / (f"{stem}.jtrec" if not number else f"{stem}-{number}.jtrec")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:
            continue
        return path, cast(BinaryIO, os.fdopen(descriptor, "wb", buffering=0))
    raise FileExistsError(f"{stem}: a thousand recordings of one second")
