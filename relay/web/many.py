"""``/live/ws``: many channels on one WebSocket, for pages with many pictures: one connection, one check of who asks, one fair queue.

Text messages are JSON. From the page (``slot`` is a number that it chooses, 0 to 65535, free again after ``end`` or ``error``)::

    {"type": "open", "slot": 3, "sim": "13800138000", "channel": 1, "stream": "sub", "media": "av", "audio": "aac", "video": "h264"}
    {"type": "close", "slot": 3}

To the page, each with its ``slot``, what the WebSocket of a single channel tells (``relay.web.media``): ``state``, ``init``, ``error`` and ``end``;
without a slot ``error`` for a message that was not understood. Media comes in binary messages::

    0        2      3
    | slot   | mark | piece of a message of the channel …     slot: 16 bits, big endian
    mark     0 whole   1 first   2 last   3 middle            as JT/T 1078 marks the packets of a frame (table 19, 分包处理标记)

The hub serialises a channel once for whoever watches it alone and for all of these: what its output writes are WebSocket messages, which ``Slot``
takes apart and sends on under its number. While the socket takes everything nothing waits here. When it is full, each channel waits in its own viewer's queue
(in bytes and in ms, down to its key frame), and those that wait take turns of TURN_BYTES, so that nobody's large picture holds the others up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.tokens import Grant
from relay.core.trace import FIRST_BYTE
from relay.hub.formats import OutputFormat
from relay.hub.viewer import Viewer, Who
from relay.web.connection import SinkMaker, WebSocket
from relay.web.media import Holder, Media, end_message, error_message, log_end, peer_of
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import TAKEN, Call, Permission, Route
from relay.web.websocket import GOING_AWAY, NORMAL, POLICY, TRY_AGAIN, Message, Opcode, accept, frame

_log = Logger(namespace="relay.web")

CHANNELS_MAX = 64  #: open at once on one connection: four walls of sixteen
TURN_BYTES = 16384  #: what a channel that waits sends in its turn, after the piece (HOLD_BYTES) that was held for it
PIECE_BYTES = 65536  #: what is handed to the socket in one go while nobody waits; what does not fit then is kept here

WHOLE, FIRST, LAST, MIDDLE = range(4)


class Open(msgspec.Struct, tag="open", tag_field="type", forbid_unknown_fields=True):
    """Show a channel."""

    slot: int
    sim: str
    channel: int
    stream: Literal["", "main", "sub"] = ""
    media: Literal["av", "v", "a"] = "av"
    audio: Literal["auto", "aac", "flac", "opus", "source", "none"] = "auto"
    video: Literal["", "h264"] = ""


class Close(msgspec.Struct, tag="close", tag_field="type", forbid_unknown_fields=True):
    """Show it no longer."""

    slot: int


_decoder = msgspec.json.Decoder(Open | Close)


class Pieces:
    """A channel's WebSocket messages, cut anywhere, as messages of a line. Text is gathered, binary passes as it comes."""

    __slots__ = ("_begun", "_head", "_left", "_slot", "_text", "_to_text")

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._head = b""  #: the beginning of a message's header
        self._left = 0  #: bytes of the present message still to come
        self._begun = False
        self._to_text = False
        self._text = bytearray()

    def cut(self, data: bytes | memoryview) -> list[bytes]:
        """What is to be written for these bytes."""
        out: list[bytes] = []
        if self._head:
            data, self._head = self._head + bytes(data), b""
        at, n = 0, len(data)
        slot = self._slot
        while at < n:
            if not self._left:
                size = data[at + 1] if n - at > 1 else 0
                header = 4 if size == 126 else 10 if size == 127 else 2
                if n - at < header:
                    self._head = bytes(data[at:])
                    break
                self._left = int.from_bytes(data[at + 2 : at + header], "big") if header > 2 else size
                self._to_text = data[at] & 0x0F == Opcode.TEXT
                self._begun = False
                at += header
                continue
            take = min(self._left, n - at)
            piece = data[at : at + take]
            at += take
            self._left -= take
            if self._to_text:
                self._text += piece
                if not self._left:
                    out.append(frame(Opcode.TEXT, b'{"slot":%d,%b' % (slot, bytes(self._text[1:]))))
                    self._text.clear()
                continue
            mark = (MIDDLE if self._begun else FIRST) if self._left else (LAST if self._begun else WHOLE)
            self._begun = True
            size = take + 3
            if size < 126:
                out.append(bytes((0x82, size, slot >> 8, slot & 0xFF, mark)))
            elif size < 65536:
                out.append(bytes((0x82, 126, size >> 8, size & 0xFF, slot >> 8, slot & 0xFF, mark)))
            else:
                out.append(b"\x82\x7f" + size.to_bytes(8, "big") + bytes((slot >> 8, slot & 0xFF, mark)))
            out.append(piece)  # type: ignore[arg-type]  # joined at once
        return out


class Slot:
    """One channel on a line: the sink of its viewer."""

    __slots__ = ("_held", "_line", "_pieces", "_ready", "format", "holder", "number", "over", "waiting", "who")

    def __init__(self, line: Line, number: int, fmt: OutputFormat, who: Who, made: str) -> None:
        self._line = line
        self.number = number
        self.who = who
        self.format = fmt
        self.holder = Holder(made)
        self.waiting: Deferred[Any] | None = None  #: the start that is under way
        self.over = False
        self._pieces = Pieces(number)
        self._held = b""
        self._ready: Callable[[], None] | None = None

    # the hub's sink ---------------------------------------------------------

    def send(self, data: bytes) -> int:
        """As much as the socket takes; what waits in a turn gets a share."""
        line = self._line
        if line.closed:
            raise ConnectionAbortedError
        size = len(data)
        taken = 0
        limit = size if line.turn is None else min(size, TURN_BYTES if line.turn is self else 0)
        while taken < limit and not line.full:
            piece = data if limit == size <= PIECE_BYTES else data[taken : taken + min(PIECE_BYTES, limit - taken)]
            taken += len(piece)
            line.put(self._pieces.cut(piece))
        if not taken:
            raise BlockingIOError
        return taken

    def hold(self, data: bytes, ready: Callable[[], None]) -> None:
        """Wait for a turn."""
        self._held, self._ready = bytes(data), ready
        self._line.wait(self)

    def go_on(self) -> None:
        """It is this channel's turn."""
        ready, self._ready = self._ready, None
        if ready is None:
            return
        held, self._held = self._held, b""
        self._line.put(self._pieces.cut(held))
        ready()

    def close(self, farewell: bytes) -> None:
        """The channel is over; the others go on, and what is said of it comes by ``_viewer_closed``."""

    def abort(self) -> None:
        """The same; what is held is dropped. A message cut in the middle is ended by ``end``."""
        self._held, self._ready = b"", None

    # its life -----------------------------------------------------------------

    def say(self, message: dict[str, Any]) -> None:
        """Tell the page."""
        self._line.text(msgspec.json.encode({"slot": self.number, **message}))

    def hop(self, hop: str, ms: int) -> None:
        """A start has come so far."""
        self.say({"type": "state", "hop": hop, "ms": ms})

    def fail(self, problem: Problem) -> None:
        """It cannot be played: say why."""
        if self.over:
            return
        self._finish()
        self.say(error_message(problem))
        self.holder.let_go()

    def attach(self) -> None:
        """The channel runs: media may follow."""
        try:
            stream = self.holder.stream(self.format)
        except Problem as problem:
            self.fail(problem)
            return
        viewer = stream.attach(self.format, self, self.who, on_first=self._first, on_close=self._viewer_closed)
        if not viewer.closed:
            self.holder.viewer = viewer

    def _first(self, viewer: Viewer) -> None:
        self.holder.viewer = viewer
        lease = self.holder.lease
        if lease is None:
            return
        lease.first_byte()
        ms = lease.trace.hops().get(FIRST_BYTE) if lease.trace is not None else None
        if ms is not None:
            viewer.insert(frame(Opcode.TEXT, msgspec.json.encode({"type": "state", "hop": FIRST_BYTE, "ms": ms})))

    def _viewer_closed(self, viewer: Viewer, cause: str) -> None:
        log_end(viewer, cause)
        self.holder.viewer = None  # closed already
        if not self.over:
            self._finish()
            self.say(end_message(cause))
        self.holder.let_go()
        if cause == "stuck":  # turns are fair: where one channel gets nothing, the socket takes nothing
            self._line.overflow()

    def _finish(self) -> None:
        self.over = True
        self.abort()
        self._line.forget(self)

    def leave(self, cause: str) -> None:
        """Let go of everything, without a word to the page."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.cancel()
        if not self.over:
            self._finish()
        self.holder.let_go(cause)


class Line(WebSocket):
    """One connection with its channels."""

    __slots__ = ("_grant", "_many", "_ring", "_sees", "full", "name", "peer", "slots", "turn")

    def __init__(self, many: Many, call: Call) -> None:
        super().__init__()
        self._many = many
        self.name = call.principal.name
        self.peer = peer_of(call.request)
        self._grant: Grant | None = call.grant
        self._sees = call.sees if call.principal.groups else None
        self.slots: dict[int, Slot] = {}
        self.full = False  #: the socket has not taken what was put last
        self.turn: Slot | None = None  #: whose turn it is
        self._ring: deque[Slot] = deque()  #: those that wait for theirs

    # media ----------------------------------------------------------------------

    def put(self, pieces: list[bytes]) -> None:
        """Messages of a channel; nobody else may before the socket has taken them."""
        if not pieces or self.closed:
            return
        self.write(b"".join(pieces))
        if self._holding or self._queue:
            self.full = True
            self.when_drained(self._go_on)

    def wait(self, slot: Slot) -> None:
        """At the end of the row."""
        self._ring.append(slot)  # the socket is full, or somebody's turn is on: either way ``_go_on`` comes to it

    def _go_on(self) -> None:
        """The socket has taken everything: the next ones, until it is full again."""
        self.full = False
        ring = self._ring
        while ring and not self.full and not self.closed:
            self.turn = slot = ring.popleft()
            try:
                slot.go_on()
            finally:
                self.turn = None

    # channels ---------------------------------------------------------------------

    def message(self, message: Message) -> None:
        """The page wants something."""
        try:
            if message.opcode is not Opcode.TEXT:
                raise Problem(400, "Only text messages are understood here.", code="bad_message")
            wanted = _decoder.decode(message.data)
            if not 0 <= wanted.slot <= 0xFFFF:
                raise Problem(400, "Slots are numbered from 0 to 65535.", code="bad_message")
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            self.complain(Problem(400, f"The message is not understood: {problem}.", code="bad_message"))
        except Problem as problem:
            self.complain(problem)
        else:
            if isinstance(wanted, Open):
                self._open(wanted)
            elif wanted.slot in self.slots:
                slot = self.slots[wanted.slot]
                slot.leave("closed by the client")
                if not self.closed:
                    slot.say({"type": "end", "error": "closed", "message": "Closed."})

    def complain(self, problem: Problem, slot: int | None = None) -> None:
        """Something was wrong with a message."""
        told = error_message(problem)
        self.text(msgspec.json.encode(told if slot is None else {"slot": slot, **told}))

    def _open(self, wanted: Open) -> None:
        if wanted.slot in self.slots:
            self.complain(Problem(409, f"Slot {wanted.slot} is in use; close it first, or take another.", code="slot_in_use"))
            return
        if len(self.slots) >= CHANNELS_MAX:
            self.complain(Problem(409, f"{CHANNELS_MAX} channels are open on this connection already.", code="too_many_channels"), wanted.slot)
            return
        if wanted.channel < 1 or wanted.channel > 255 or not 0 < len(wanted.sim) <= 64:
            self.complain(Problem(404, "There is no such channel; they are numbered from 1 to 255.", code="unknown_channel"), wanted.slot)
            return
        fmt = OutputFormat("mp4", "ws", wanted.media, wanted.audio)
        slot = self.slots[wanted.slot] = Slot(self, wanted.slot, fmt, Who(self.peer, self.name, "live"), wanted.video)
        waiting = slot.waiting = Deferred.fromCoroutine(self._many.start(slot, wanted, self._grant, self._sees))

        def done(result: Any) -> None:
            slot.waiting = None
            if isinstance(result, Failure):
                self._many.failed(slot, result)

        waiting.addBoth(done)

    def forget(self, slot: Slot) -> None:
        """Its number is free again."""
        if self.slots.get(slot.number) is slot:
            del self.slots[slot.number]
        if slot in self._ring:
            self._ring.remove(slot)

    # the end ------------------------------------------------------------------------

    def control(self, data: bytes) -> None:
        """Between whole messages, which all that is written here are."""
        self.write(data)

    def end(self, code: int = NORMAL, reason: str = "") -> None:
        self._leave(reason or "closed by the client")
        super().end(code, reason)

    def overflow(self) -> None:
        if not self.closed:
            self.close_code = TRY_AGAIN
            self.abort()

    def lost(self) -> None:
        self._leave("gone")
        self._many.lines.pop(self, None)

    def _leave(self, cause: str) -> None:
        for slot in list(self.slots.values()):
            slot.leave(cause)


class Many:
    """The handler."""

    def __init__(
        self, media: Media, names: Names, sinks: SinkMaker, translate: Callable[[BaseException], Problem | None], wall: Callable[[], float]
    ) -> None:
        self._media = media
        self._names = names
        self._sinks = sinks
        self._translate = translate
        self._wall = wall
        self.lines: dict[Line, None] = {}

    def routes(self) -> tuple[Route, ...]:
        """The line of the table."""
        return (
            Route(
                method="GET", path="/live/ws", handler=self.handle, permission=Permission.MEDIA, tag="media", any_query=True, scope="filtered",
                content_type="video/mp4", summary="Many channels as fMP4 over one WebSocket", errors=(426,), any_origin=True, report=self._media.report,
            ),
        )  # fmt: skip

    def handle(self, call: Call) -> Any:
        """Begin a line."""
        if not call.upgrade:
            raise Problem(426, "This address speaks WebSocket only.", code="upgrade_required", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        head = accept(call.request)
        line = Line(self, call)
        line.begin(call.request, self._sinks, head)
        self.lines[line] = None
        return TAKEN

    async def start(self, slot: Slot, wanted: Open, grant: Grant | None, sees: Callable[[str], bool] | None) -> None:
        """Who asks may see it? Then start or join it."""
        if grant is not None and self._wall() > grant.expires:
            raise Problem(403, "The token has expired.", code="token_expired", hint="Connect again with a new one.")
        if sees is not None:
            await self._names.known()
            sim = await self._names.sim(wanted.sim)
            if sim is None or not sees(sim):
                hint = "Your account is for other groups, or it does not exist."
                raise Problem(404, f"Terminal {wanted.sim} is not known.", code="unknown_terminal", hint=hint)
        path = {"sim": wanted.sim, "channel": str(wanted.channel)}
        lease = await self._media.lease(path, grant, wanted.stream, slot.format, slot.who, slot.hop, slot.holder.made)
        slot.holder.lease = lease
        if not slot.over:
            await self._media.suit(slot.holder, slot.format)
        if slot.over:
            slot.holder.let_go()
        else:
            slot.attach()

    def failed(self, slot: Slot, failure: Failure) -> None:
        """A start failed."""
        error = failure.value
        if slot.over or error is None or isinstance(error, CancelledError):
            slot.holder.let_go()
            return
        problem = error if isinstance(error, Problem) else self._translate(error)
        if problem is None:
            _log.failure("starting a channel of many failed", failure=failure)
            problem = Problem(500, "The relay failed at this request; its log says why.")
        slot.fail(problem)

    def end_of(self, name: str) -> None:
        """Somebody's account or token was taken back."""
        for line in [line for line in self.lines if line.name == name]:
            line.end(POLICY, "taken back")

    def close(self) -> None:
        """The relay stops."""
        for line in list(self.lines):
            line.end(GOING_AWAY, "the relay stops")
