"""The connection that carries the attachments of an alarm (T/JSATL 12-2017 section 6 of the facts): frames and chunks in one byte stream.

::

    terminal                                     platform
    0x1210  alarm and list of its files     ->
                                            <-   0x8001
    0x1211  one file is about to come       ->
                                            <-   0x8001
    chunk*                                  ->
    0x1212  file sent                       ->
                                            <-   0x9212  complete, or ranges to send again

A chunk has no flags, no escapes and no checksum, and its body may hold anything; so the first byte of each unit decides and lengths do the rest::

    0  30 31 63 64   marker                      7E … 7E   a frame
    4  file_name     STRING[50]                  黑标: BYTE length + name, later offsets move
    54 offset        DWORD
    58 length        DWORD
    62 body          BYTE[length]

Anything else at the start of a unit means that the peer is lost: error ``sync``. ``chunk_length`` is refused at the head, before a byte of the body.
A chunk of a file that nobody announced (``unknown_file``), that runs over the file's size (``range``), or of a file larger than we take
(``file_limit``) is skipped, the link lives on.

Bodies are never kept here: they pass through as ``Data`` events in the portions in which they came. A name from the wire is text to show, never a path.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from relay.errors import DecodeError, FrameError, SequenceError
from relay.jt808.framing import MAX_PIECE
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages import Body, decode_body, decode_message
from relay.jt808.messages.general import PlatformGeneralResponse, RegistrationResponse, Result
from relay.jt808.messages.safety import AttachmentList, FileBegin, FileEnd, FileEndResponse, Range, list_widths
from relay.jt808.subpackages import Reassembler
from relay.wire import text_bytes

MARKER = b"01cd"
NAME_FIELD = 50
_TAIL = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class AttachmentLimits:
    """Bounds of one connection."""

    chunk_bytes: int = 1 << 20  #: terminals send 64 KiB; the field could say 4 GiB
    file_bytes: int = 64 << 20  #: half a minute of video is some 10 MiB
    files: int = 1024  #: announced on one connection; one alarm can list 255
    rounds: int = 5  #: how often the same file is asked for again before it is left incomplete
    first_s: float = 10.0  #: until the first valid 0x1210: the port is open to the world
    idle_s: float = 60.0  #: without a byte
    total_s: float = 1800.0  #: a slow 3G link needs minutes for one video


class Coverage:
    """Which bytes of a file have arrived: merged ranges. Chunks repeat, overlap and come out of order, so a sum of lengths would lie."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Bytes ``start`` to ``end`` (exclusive) are here."""
        if start >= end:
            return
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The merged ranges, in order."""
        return list(zip(self._starts, self._ends, strict=True))

    @property
    def end(self) -> int:
        """Behind the last byte that is here."""
        return self._ends[-1] if self._ends else 0

    def missing(self, size: int) -> list[tuple[int, int]]:
        """What a file of ``size`` bytes still lacks."""
        gaps = []
        at = 0
        for start, end in self.ranges:
            if start > at:
                gaps.append((at, start))
            at = end
        if at < size:
            gaps.append((at, size))
        return gaps


@dataclass(slots=True)
class AttachedFile:
    """One announced file."""

    name: str
    name_bytes: bytes
    size: int
    kind: int | None = None  #: 文件类型, known from 0x1211 on
    received: Coverage = field(default_factory=Coverage)
    complete: bool = False
    rounds: int = 0  #: how often missing ranges were asked for
    given_up: bool = False  #: the terminal kept failing; what is here stays partial


# events


@dataclass(frozen=True, slots=True)
class MessageCame:
    """A frame; ``body`` is opaque for a piece of a longer message or one that cannot be read (``problem``)."""

    header: Header
    body: Body | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ListCame:
    """A valid 0x1210: the files of one alarm."""

    header: Header
    message: AttachmentList
    files: tuple[AttachedFile, ...]


@dataclass(frozen=True, slots=True)
class ChunkCame:
    """The head of a chunk; ``error`` says why its body is skipped."""

    name: str
    offset: int
    length: int
    file: AttachedFile | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Data:
    """A portion of a file, to be written at ``offset``. It counts as received when its chunk is whole."""

    file: AttachedFile
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FileComplete:
    """All bytes of a file are here."""

    file: AttachedFile


@dataclass(frozen=True, slots=True)
class LinkFailed:
    """The connection is to be closed: ``sync``, ``chunk_length``, ``incomplete``, ``refused``, ``timeout``, ``too_long``."""

    reason: str
    detail: str = ""


Event = MessageCame | ListCame | ChunkCame | Data | FileComplete | LinkFailed


class AttachmentLink:
    """The sans-IO core of one attachment connection.

    :param dialect: ``heilongjiang`` has another chunk head; empty = told by the 0x1210
    :param admit: whether a 0x1210 answers an open 0x9208; without it everybody is admitted
    """

    def __init__(
        self,
        dialect: str = "",
        limits: AttachmentLimits | None = None,
        admit: Callable[[Header, AttachmentList], bool] | None = None,
        now: float = 0.0,
    ) -> None:
        self.limits = limits or AttachmentLimits()
        self.files: dict[bytes, AttachedFile] = {}
        self.failed: LinkFailed | None = None
        self.bad_frames = 0
        self._prefixed: bool | None = dialect == "heilongjiang" if dialect else None
        self._admit = admit
        self._buffer = bytearray()
        self._events: list[Event] = []
        self._out: list[bytes] = []
        self._serial = 0
        self._reassembler = Reassembler()
        self._admitted = False
        self._begun = self._last = now
        # the chunk whose body is coming
        self._chunk: ChunkCame | None = None
        self._left = 0

    # the outside

    def receive(self, data: bytes, now: float = 0.0) -> None:
        """Bytes of the peer."""
        self._last = now
        if self.failed is None:
            self._buffer += data
            while self.failed is None and self._step(now):
                pass

    def finish(self) -> None:
        """The peer closed the connection."""
        if self.failed is None and (self._left or self._buffer):
            self._fail("incomplete", "the link ended inside a unit")

    def tick(self, now: float) -> None:
        """Time went by."""
        if self.failed is None:
            for due, what in self._deadlines():
                if now >= due:
                    self._fail("timeout", what)
                    break
        self._reassembler.tick(now)

    def next_deadline(self) -> float | None:
        """When ``tick`` wants to be called."""
        return None if self.failed is not None else min(due for due, _ in self._deadlines())

    def _deadlines(self) -> list[tuple[float, str]]:
        limits = self.limits
        admitted = (self._begun + limits.total_s, "the connection is too old") if self._admitted else (self._begun + limits.first_s, "no valid 0x1210")
        return [admitted, (self._last + limits.idle_s, "nothing came")]

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def bytes_to_send(self) -> bytes:
        """What the peer is to get."""
        out, self._out = self._out, []
        return b"".join(out)

    # units

    def _step(self, now: float) -> bool:
        """Take one unit, or a portion of a chunk's body; False if more bytes are needed."""
        buffer = self._buffer
        if self._left:
            return self._body()
        if not buffer:
            return False
        if buffer[0] == 0x7E:
            return self._frame(now)
        if buffer.startswith(MARKER[: len(buffer)]):
            return self._head()
        self._fail("sync", f"{bytes(buffer[:4]).hex()} begins neither a frame nor a chunk")
        return False

    def _frame(self, now: float) -> bool:
        end = self._buffer.find(b"\x7e", 1)
        if end < 0:
            if len(self._buffer) > MAX_PIECE + 1:
                self._fail("too_long", f"more than {MAX_PIECE} bytes without an end flag")
            return False
        piece = bytes(self._buffer[1:end])
        if not piece:
            # doubled flag: the second one begins the frame
            del self._buffer[:1]
            return True
        del self._buffer[: end + 1]
        try:
            header, body = decode_frame(piece)
        except FrameError:
            self.bad_frames += 1
            return True
        self._message(header, body, now)
        return True

    def _head(self) -> bool:
        buffer = self._buffer
        if self._prefixed:
            if len(buffer) < 5:
                return False
            start, stop = 5, 5 + buffer[4]
        else:
            start, stop = 4, 4 + NAME_FIELD
        if len(buffer) < stop + _TAIL.size:
            return False
        raw = bytes(buffer[start:stop])
        offset, length = _TAIL.unpack_from(buffer, stop)
        del buffer[: stop + _TAIL.size]
        name = raw if self._prefixed else raw.rstrip(b"\0")
        file = self._find(name)
        error = ""
        if length > self.limits.chunk_bytes:
            error = "chunk_length"
        elif file is None:
            error = "unknown_file"
        elif file.size > self.limits.file_bytes:
            error = "file_limit"
        elif offset + length > file.size:
            error = "range"
        shown = name.decode("gb18030", "replace")
        chunk = ChunkCame(shown, offset, length, file if not error else None, error)
        self._events.append(chunk)
        if error == "chunk_length":
            self._fail("chunk_length", f"{length} bytes are more than the limit of {self.limits.chunk_bytes}")
            return False
        self._chunk, self._left = chunk, length
        if not length:
            self._chunk_done()
        return True

    def _body(self) -> bool:
        if not self._buffer:
            return False
        portion = bytes(self._buffer[: self._left])
        del self._buffer[: len(portion)]
        chunk = self._chunk
        if chunk is not None and chunk.file is not None:
            self._events.append(Data(chunk.file, chunk.offset + chunk.length - self._left, portion))
        self._left -= len(portion)
        if not self._left:
            self._chunk_done()
        return True

    def _chunk_done(self) -> None:
        chunk, self._chunk = self._chunk, None
        if chunk is not None and chunk.file is not None:
            chunk.file.received.add(chunk.offset, chunk.offset + chunk.length)
            self._judge(chunk.file)

    def _find(self, name: bytes) -> AttachedFile | None:
        """The announced file; a name that fills the field is cut there, so its first 50 bytes decide."""
        file = self.files.get(name)
        if file is None and len(name) == NAME_FIELD and not self._prefixed:
            file = next((one for full, one in self.files.items() if full[:NAME_FIELD] == name), None)
        return file

    # messages

    def _message(self, header: Header, raw: bytes, now: float) -> None:
        if header.is_subpackage and not header.encryption and header.package_total and header.package_index:
            self._events.append(MessageCame(header, decode_message(header, raw)))
            try:
                whole = self._reassembler.add(header.msg_id, header.package_total, header.package_index, header.serial, raw, now)
            except SequenceError:
                self._answer(header, Result.MESSAGE_ERROR)
                return
            self._answer(header, Result.OK)
            if whole is not None:
                self._whole(header, whole.body, answered=True)
            return
        self._whole(header, raw, answered=False)

    def _whole(self, header: Header, raw: bytes, answered: bool) -> None:
        try:
            body = decode_message(header, raw) if not answered else decode_body(header.msg_id, raw, header.edition)
        except DecodeError as problem:
            self._events.append(MessageCame(header, None, str(problem)))
            if not answered:
                self._answer(header, Result.MESSAGE_ERROR)
            return
        if not answered:
            self._events.append(MessageCame(header, body))
        if isinstance(body, AttachmentList):
            if self._list(header, body, raw) and not answered:
                self._answer(header, Result.OK)
        elif isinstance(body, FileEnd):
            self._file_end(header, body)
        elif isinstance(body, FileBegin):
            file = self.files.get(text_bytes(body.file_name))
            if file is not None:
                file.kind = body.file_type
                self._resize(file, body.file_size)
            if not answered:
                self._answer(header, Result.OK)
        elif header.msg_id == 0x0100:
            # some terminals register on this link as well
            self._send(header, RegistrationResponse(reply_serial=header.serial, result=0, auth_code=""))
        elif header.msg_id != 0x0001 and not answered:
            self._answer(header, Result.OK)

    def _list(self, header: Header, message: AttachmentList, raw: bytes) -> bool:
        if self._admit is not None and not self._admit(header, message):
            self._answer(header, Result.FAILURE)
            self._fail("refused", "no 0x9208 asked for these files")
            return False
        self._admitted = True
        if self._prefixed is None:
            self._prefixed = list_widths(raw) == (0, 38)
        files = []
        for one in message.files:
            name = text_bytes(one.file_name)
            file = self.files.get(name)
            if file is None:
                if len(self.files) >= self.limits.files:
                    break
                file = self.files[name] = AttachedFile(str(one.file_name), name, one.file_size)
            else:
                self._resize(file, one.file_size)
            files.append(file)
        self._events.append(ListCame(header, message, tuple(files)))
        return True

    def _resize(self, file: AttachedFile, size: int) -> None:
        """0x1210, 0x1211 and 0x1212 may disagree: the latest counts, within the limit and not below what has arrived."""
        if file.received.end <= size <= self.limits.file_bytes and not file.complete:
            file.size = size

    def _file_end(self, header: Header, message: FileEnd) -> None:
        file = self.files.get(text_bytes(message.file_name))
        missing: list[tuple[int, int]] = []
        if file is not None:
            file.kind = message.file_type
            self._resize(file, message.file_size)
            self._judge(file, ended=True)
            missing = file.received.missing(file.size) if file.size <= self.limits.file_bytes else []
            if missing:
                file.rounds += 1
                if file.rounds > self.limits.rounds:
                    file.given_up = True
                    missing = []
        # without an answer, even about a file that nobody knows, the terminal repeats its 0x1212 for ever
        room = min(255, (1019 - len(text_bytes(message.file_name))) // _TAIL.size)
        ranges = [Range(offset=start, length=end - start) for start, end in missing[:room]]
        answer = FileEndResponse(
            file_name=message.file_name, file_type=message.file_type, upload_result=1 if ranges else 0, ranges=ranges
        )
        self._send(header, answer)

    def _judge(self, file: AttachedFile, ended: bool = False) -> None:
        """Coverage decides what is complete, not the message; an empty file is complete when the terminal says that it was sent."""
        if not file.complete and not file.received.missing(file.size) and (file.size or ended):
            file.complete = True
            self._events.append(FileComplete(file))

    def _answer(self, header: Header, result: Result) -> None:
        self._send(header, PlatformGeneralResponse(reply_serial=header.serial, reply_msg_id=header.msg_id, result=result))

    def _send(self, header: Header, body: Body) -> None:
        self._out.append(header.reply(body.msg_id, self._serial).encode(body.encode(header.edition)))
        self._serial = (self._serial + 1) & 0xFFFF

    def _fail(self, reason: str, detail: str = "") -> None:
        if self.failed is None:
            self.failed = LinkFailed(reason, detail)
            self._events.append(self.failed)
            self._buffer.clear()
