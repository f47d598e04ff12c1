"""JT/T 1078 over TCP: bytes in, whole frames out. The hot path of the relay.

There is no escaping and no delimiter (JT/T 1078-2016 table 19): a packet begins with 30 31 63 64, which may also occur inside a
body, so the stream is cut by lengths and the magic only verifies::

    state         next bytes                      does
    in step       the magic, a possible header    takes the packet
    in step       anything else                   looks whether the last packet's length reached into the next one, else searches
    searching     a plausible header              takes it, unless a confirmed one lies inside its span (``framing``)
    any           part of a packet                waits; one that claims much is given up when other packets run on inside its span

What the common case needs stands inline in ``_parse``: one ``unpack_from``, slices of bytes, no object per packet. Everything
else (new streams, gaps, lying marks, garbage, the width of the SIM field) goes through ``_step``, one packet at a time.

The width of the SIM field is written nowhere. Both are tried, and the one whose end meets the next magic is kept for the connection.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Protocol

from relay.jt1078.assembly import FRAME_MAX, NEVER, UNKNOWN, Assembler, Loss, RawFrame, Stream, Track
from relay.jt1078.framing import CREDIT_BYTES, CREDIT_MAX, Framing, foreign
from relay.jt1078.packet import MAGIC, MAX_BODY, Packet, detect_sim_bytes, header_length, measure, parse_packet, sim_text
from relay.jt1078.sequence import CONNECTION, FOLLOWS, KIND, RESTART, Sequence

__all__ = ["Demuxer", "Loss", "PacketReader", "RawFrame", "Stream", "Tap"]

# magic, M and PT, sequence, SIM and channel, data type and mark, time stamp, body length of a video packet
_HEAD_6 = struct.Struct(">IxBH7sBQ4xH").unpack_from
_HEAD_10 = struct.Struct(">IxBH11sBQ4xH").unpack_from
_MAGIC = int.from_bytes(MAGIC, "big")

#: what byte 15 means to the loop: 0-3 video by its mark, 4 sound in one packet, 5 what it leaves to ``_step``
_WHAT = tuple((kind & 0x0F) if kind < 0x24 and kind & 0x0F < 4 else 4 if kind == 0x30 else 5 for kind in range(256))

#: (SIM, channel) pairs on one connection: table 2 of JT/T 1076 has 37 channels
STREAMS_MAX = 64
#: an open frame that does not grow for so long is given up
FRAME_IDLE_S = 2.0
_CHECK_BYTES = 256 * 1024
#: a packet longer than this is looked into each time so many bytes have come, so that a corrupt length holds nothing up for long
_LOOK_BYTES = 4096
#: the longest beginning of a connection that is kept to tell what else it is
_OPENING_MAX = 2048

#: answers of ``_step`` that are no position
_WAIT, _AGAIN = -1, -2
#: ends the loop without a step: the packet's rest has not come yet
_UNFINISHED = -(1 << 60)
_NEVER_FAST = 1 << 40
_NO_SPAN = (b"", 0, 0)
_new = object.__new__


class Lent(NamedTuple):
    """State of a connection of one channel, all of whose packets are whole."""

    sim_bytes: int
    head: bytes  #: bytes 0-4 of its packets
    key: bytes  #: SIM and channel
    seq: int  #: of the last packet that its pictures follow
    ts: int  #: of the last picture
    span: tuple[bytes, int, int]  #: the data in which the last packet is, and from where to where


class Tap(Protocol):
    """Sees every packet, for tools; slower."""

    def packet(self, data: bytes, start: int, end: int, sim_bytes: int) -> None:
        """A packet was taken."""

    def retract(self) -> None:
        """The last one was none."""


class Demuxer:
    """One TCP connection."""

    def __init__(self, max_body: int = MAX_BODY, sim_bytes: int = 0, tap: Tap | None = None) -> None:
        self.framing = Framing(max_body, sim_bytes)
        self.streams = self.framing.streams  #: by SIM field and channel as on the wire
        self.assembler = Assembler()
        self.sequence = Sequence()
        self.bytes = 0  #: all that came in
        self.packets = 0
        self.empty_packets = 0  #: with a body of length 0
        self.refused_packets = 0  #: of streams beyond ``STREAMS_MAX``
        self.lost_packets = 0  #: numbers missing
        self.garbage_bytes = 0
        self.garbage_runs = 0
        self.trailing_bytes = 0  #: of an unfinished packet at the end; known after ``finish``
        self.verdict = ""  #: why this is no media connection, in words; empty while it may be one
        self._tap = tap
        self._tail = b""
        self._chunks: list[bytes] = []
        self._missing = 0  # bytes to gather before another look is worth while
        self._prev = -1  # where in the present data the packet begins that ends at the present position
        self._span = _NO_SPAN  # what was parsed last and where in it the last packet is, until what follows it has been seen
        self._rescued = b""
        self._run_at = -1  # ``packets`` when the present run of garbage began
        self._opening = b""  # first bytes of a connection that has brought no packet
        self._credited = 0
        self._check_bytes = 0
        self._check_at = 0.0
        self._watch: dict[Track, tuple[int, int, int, float]] = {}
        self._set_fast()

    @property
    def sim_bytes(self) -> int:
        """Width of the SIM field: 6 or 10; 0 = not known yet."""
        return self.framing.sim_bytes

    def feed(self, data: bytes, now: float) -> list[RawFrame]:
        """Take bytes as they came; gives the frames that are whole with them."""
        self.bytes += len(data)
        if self._tail:
            if self._missing:
                self._chunks.append(data)
                self._missing -= len(data)
                if self._missing > 0:
                    return []
                data = b"".join(self._chunks)
                self._chunks.clear()
                self._missing = 0
            data = self._tail + data
        out: list[RawFrame] = []
        n = len(data)
        pos = 0
        prev = -1
        while True:
            # Begun anew after every step outside the inner loop, which may have changed any of these.
            unpack, header, streams = self._fast
            stop = n - header
            last_key = b""
            count = 0
            while pos <= stop:
                found, mpt, seq, key, kind, ts, size = unpack(data, pos)
                if key != last_key:
                    stream = streams.get(key)
                    if stream is None:
                        break
                    last_key = key
                    sim = stream.sim
                    channel = stream.channel
                    video = stream.video
                    audio = stream.audio
                    parts = video.parts
                what = _WHAT[kind]
                if what < 4:
                    counter = video.counter
                    if seq - counter.last != 1 or found != _MAGIC:
                        break
                    start = pos + header
                    end = start + size
                    if end > n:
                        if size > _LOOK_BYTES:
                            break
                        stop = _UNFINISHED
                        continue
                    if what == 3:  # MIDDLE
                        if not parts or ts != video.ts:
                            break
                        parts.append(data[start:end])
                    elif not size or not mpt & 0x40:
                        break
                    elif what == 1:  # FIRST
                        if parts or ts == video.ts:
                            break
                        parts.append(data[start:end])
                        video.ts = ts
                        video.mpt = mpt
                        video.data_type = kind >> 4
                    else:
                        # The frame is whole. Its fields are set here, not by __init__: a third of the cost of making it.
                        if what:  # LAST
                            if not parts or ts != video.ts:
                                break
                            parts.append(data[start:end])
                            frame = _new(RawFrame)
                            frame.body = b"".join(parts)
                            frame.packets = len(parts)
                            parts.clear()
                        else:  # ATOMIC
                            if parts or ts == video.ts:
                                break
                            video.ts = ts
                            frame = _new(RawFrame)
                            frame.body = data[start:end]
                            frame.packets = 1
                        frame.sim = sim
                        frame.channel = channel
                        frame.pt = mpt & 0x7F
                        frame.data_type = kind >> 4
                        frame.timestamp = ts
                        frame.arrival = now
                        frame.loss = None
                        out.append(frame)
                elif what == 4:
                    counter = audio.counter
                    start = pos + header - 4
                    size = data[start - 2] << 8 | data[start - 1]
                    if seq - counter.last != 1 or found != _MAGIC or not size or mpt & 0x40 or audio.parts:
                        break
                    end = start + size
                    if end > n:
                        if size > _LOOK_BYTES:
                            break
                        stop = _UNFINISHED
                        continue
                    frame = _new(RawFrame)
                    frame.body = data[start:end]
                    frame.packets = 1
                    frame.sim = sim
                    frame.channel = channel
                    frame.pt = mpt & 0x7F
                    frame.data_type = 3
                    frame.timestamp = ts
                    frame.arrival = now
                    frame.loss = None
                    out.append(frame)
                else:
                    break
                counter.last = seq
                prev = pos
                pos = end
                count += 1
            self.packets += count
            if pos == n or stop == _UNFINISHED:
                break
            if stop < pos and header < 64 and data.startswith(MAGIC, pos) and (pos + header - 15 >= n or data[pos + header - 15] < 0x30):
                break  # a video header cut in two
            self._prev = prev
            at = self._step(data, pos, now, out)
            prev = self._prev
            if at == _WAIT:
                break
            if at == _AGAIN:
                data = self._rescued
                n = len(data)
                at = 0
            pos = at
        self._tail = data[pos:]
        if prev >= 0:
            self._span = data, prev, pos
        elif pos:
            self._span = _NO_SPAN
        if self.bytes > self._check_bytes or now > self._check_at:
            self._expire(now, out)
        return out

    def finish(self, now: float) -> list[RawFrame]:
        """The connection is closed: frames that only waited for the next packet leave, the rest is counted."""
        out: list[RawFrame] = []
        self._tail += b"".join(self._chunks)
        self._chunks.clear()
        if self._tail and not self.framing.sim_bytes:
            self._take_width(self.framing.former or detect_sim_bytes(self._tail))
        while self._tail:
            data, self._tail, self._missing = self._tail, b"", 0
            out += self.feed(data, now)
            self.bytes -= len(data)
            inner = self.framing.whole_inside(self._tail)
            if inner < 0:
                break
            self._garbage(self._tail, 0, inner)
            self._tail = self._tail[inner:]
        self._missing = 0
        self.trailing_bytes = len(self._tail)
        self._tail = b""
        for stream in self.streams.values():
            for track in (stream.video, stream.audio, stream.data):
                self.assembler.finish(track, now, out)
        return out

    def lend(self) -> Lent | None:
        """What ``hub.shortcut`` needs to take packets in our stead; None while they need more than the loop above."""
        framing = self.framing
        if self._tail or self._tap is not None or len(self.streams) != 1 or not framing.sure or not framing.sim_bytes:
            return None
        ((key, stream),) = self.streams.items()
        video = stream.video
        if video.counter is NEVER or video.parts or stream.audio.parts or stream.data.parts:
            return None
        return Lent(framing.sim_bytes, framing.head, key, video.counter.last, video.ts, self._span)

    def take_back(self, seq: int, mpt: int, ts: int, span: tuple[bytes, int, int]) -> None:
        """The state as it is now: number, PT and time stamp of the last packet, and where it is."""
        (stream,) = self.streams.values()
        video = stream.video
        video.counter.last = seq
        video.ts = ts
        video.mpt = mpt
        self._span = span

    def count(self, packets: int, size: int) -> None:
        """So many packets and bytes went another way."""
        self.packets += packets
        self.bytes += size

    # -- one packet outside the loop --------------------------------------------------------------------------------------------------

    def _step(self, data: bytes, pos: int, now: float, out: list[RawFrame]) -> int:
        """Take the packet at ``pos``, or skip what is none: the next position, _WAIT for more bytes, or _AGAIN with ``_rescued``."""
        framing = self.framing
        if self.bytes > self._credited:
            framing.credit = min(CREDIT_MAX, framing.credit + (self.bytes - self._credited) // CREDIT_BYTES + 1)
            self._credited = self.bytes
        if not framing.sim_bytes:
            width = framing.choose_width(data, pos)
            total = measure(data, pos, width, framing.max_body) if width > 0 else width
            if total > 0 and pos + total <= len(data):
                self._take_width(width)  # not before a whole packet is there to try it on
        else:
            total = framing.total(data, pos)
        if total < 0:
            return self._out_of_step(data, pos, now, out)
        if total == 0 or pos + total > len(data):
            return self._wait(data, pos, total)
        end = pos + total
        if framing.doubtful(data, pos, total):
            return self._out_of_step(data, pos, now, out)
        if not framing.sure and (self._prev >= 0 or (pos == 0 and self._span[2])):
            framing.sure = True
        self._take(data, pos, end, now, out)
        self._prev = pos
        return end

    def _wait(self, data: bytes, pos: int, total: int) -> int:
        """The packet at ``pos`` has not come to its end. A wrong length must not hold up what comes after it."""
        have = len(data) - pos
        framing = self.framing
        inside = -1
        if not framing.known(data, pos):
            inside = framing.confirmed_inside(data, pos, len(data))
        elif have >= _LOOK_BYTES:
            inside = framing.run_inside(data, pos)
        if inside >= 0:
            self._prev = -1
            if not framing.sure:
                width = framing.same_terminal(data, pos, inside)
                if width and width != framing.sim_bytes:
                    self._take_width(width)
                    return pos
                self._doubt_width()
            self._garbage(data, pos, inside)
            return inside
        if total > _LOOK_BYTES:
            self._missing = min(total - have, _LOOK_BYTES)
        return _WAIT

    def _take(self, data: bytes, pos: int, end: int, now: float, out: list[RawFrame]) -> None:
        """A packet: find its stream and its track, see whether it follows on, hand its body to the assembler."""
        width = self.framing.sim_bytes
        self.packets += 1
        self.framing.head = data[pos : pos + 5]
        if self._tap is not None:
            self._tap.packet(data, pos, end, width)
        key = data[pos + 8 : pos + 9 + width]
        stream = self.streams.get(key)
        if stream is None:
            if len(self.streams) >= STREAMS_MAX:
                self.refused_packets += 1
                return
            stream = self.streams[key] = Stream(sim_text(key[:width]), key[width])
            self.framing.sims.add(key[:width])
        mpt, seq, kind = data[pos + 5], data[pos + 6] << 8 | data[pos + 7], data[pos + 9 + width]
        data_type = kind >> 4
        track = stream.track(mpt & 0x7F, data_type)
        if track.own.last == UNKNOWN:
            self.sequence.new_track()
        gap = self.sequence.gap(stream, track, seq)
        if gap > 0 or gap == RESTART:
            self._gap(stream, track, gap, out)
        header = header_length(data_type, width)
        ts = int.from_bytes(data[pos + width + 10 : pos + width + 18], "big") if data_type <= 3 else 0
        interval = data[pos + header - 4] << 8 | data[pos + header - 3] if data_type <= 2 else -1
        body = data[pos + header : end]
        if not body:
            self.empty_packets += 1
        self.assembler.accept(track, mpt, kind, ts, body, gap == FOLLOWS, now, out, interval)
        track.own.last = seq
        track.counter = self.sequence.counter_of(track) if track.clean else NEVER

    def _gap(self, stream: Stream, track: Track, gap: int, out: list[RawFrame]) -> None:
        """Numbers are missing, or begin anew: it concerns every track that shares the count."""
        scope = self.sequence.best
        streams = self.streams.values() if scope == CONNECTION else (stream,)
        tracks = (track,) if scope == KIND else tuple(t for s in streams for t in (s.video, s.audio, s.data) if t.own.last != UNKNOWN)
        if gap == RESTART:
            stream.restarts += 1
        else:
            stream.lost_packets += gap
            self.lost_packets += gap
        for each in tracks:
            if gap == RESTART:
                self.assembler.restarted(each, out)
            else:
                self.assembler.missing(each, gap, len(tracks) == 1, out)

    # -- out of step ------------------------------------------------------------------------------------------------------------------

    def _take_width(self, sim_bytes: int) -> None:
        self.framing.take_width(sim_bytes)
        self._set_fast()

    def _doubt_width(self) -> None:
        self.framing.doubt_width()
        self._set_fast()

    def _set_fast(self) -> None:
        width = self.framing.sim_bytes
        unpack = _HEAD_10 if width == 10 else _HEAD_6
        self._fast = unpack, width + 24 if width and self._tap is None else _NEVER_FAST, self.streams

    def _out_of_step(self, data: bytes, pos: int, now: float, out: list[RawFrame]) -> int:
        """No packet begins at ``pos``."""
        framing = self.framing
        prev, self._prev = self._prev, -1
        (last, first, beyond), self._span = self._span, _NO_SPAN
        span = last[first:beyond]
        if framing.sim_bytes:
            if prev >= 0:
                if self._other_width(data, prev):
                    self._undo(data, prev, pos, out)
                    self._take_width(16 - framing.sim_bytes)
                    framing.sure = True  # its next packet is in step
                    return prev
                inside = framing.overrun(data, prev, pos)
                if inside < 0 and not framing.sure:
                    inside = framing.confirmed_inside(data, prev, pos, True)
                if inside >= 0:
                    self._undo(data, prev, pos, out)
                    self._garbage(data, prev, inside)
                    if not framing.sure:
                        self._doubt_width()
                    return inside
            elif span and pos == 0:
                # The last read ended with a packet. It has been passed on; what it may have swallowed need not be lost as well.
                both = span + data
                inside = framing.overrun(both, 0, len(span))
                if inside >= 0:
                    self.garbage_bytes -= len(span) - inside
                    self._rescued = both[inside:]
                    return _AGAIN
        if not framing.sure and framing.sim_bytes:
            self._doubt_width()
        width = framing.sim_bytes
        at = framing.seek(data, pos)
        if framing.sim_bytes != width:
            self._set_fast()
        self._garbage(data, pos, at)
        return at

    def _other_width(self, data: bytes, pos: int) -> bool:
        """Whether the first packet taken with this width makes sense with the other one."""
        framing = self.framing
        return not framing.sure and framing.chains(data, pos, 16 - framing.sim_bytes)

    def _undo(self, data: bytes, start: int, end: int, out: list[RawFrame]) -> None:
        """The packet taken last was damaged: its frame is, too."""
        width = self.framing.sim_bytes
        self.packets -= 1
        if self._tap is not None:
            self._tap.retract()
        stream = self.streams.get(data[start + 8 : start + 9 + width])
        data_type = data[start + 9 + width] >> 4
        body = data[start + header_length(data_type, width) : end]
        if stream is None or not body:
            return
        track = stream.track(data[start + 5] & 0x7F, data_type)
        if track.parts:
            self.assembler.drop(track)
        elif out and out[-1].sim == stream.sim and out[-1].channel == stream.channel and out[-1].body.endswith(body):
            self.assembler.retract(track, out.pop())

    def _garbage(self, data: bytes, start: int, end: int) -> None:
        count = end - start
        if count <= 0:
            return
        self.garbage_bytes += count
        if self.packets != self._run_at:
            self._run_at = self.packets
            self.garbage_runs += 1
        if not self.packets and len(self._opening) < _OPENING_MAX:
            self._opening += data[start : min(end, start + _OPENING_MAX)]
            self.verdict = self.verdict or foreign(self._opening)

    def _expire(self, now: float, out: list[RawFrame]) -> None:
        """Bound what open frames hold, in bytes and in time."""
        self._check_bytes = self.bytes + _CHECK_BYTES
        self._check_at = now + 1.0
        watch: dict[Track, tuple[int, int, int, float]] = {}
        for stream in self.streams.values():
            for track in (stream.video, stream.audio, stream.data):
                if not track.parts:
                    continue
                ts, count, opened, grown = self._watch.get(track, (-1, 0, self.bytes, now))
                if ts != track.ts:
                    ts, count, opened, grown = track.ts, 0, self.bytes, now
                if count != len(track.parts):
                    grown = now
                if now - grown > FRAME_IDLE_S:
                    self.assembler.finish(track, now, out)
                elif self.bytes - opened > FRAME_MAX:  # it bounds one frame, and all open frames of a connection together
                    self.assembler.drop(track)
                else:
                    watch[track] = (ts, len(track.parts), opened, grown)
        self._watch = watch


class PacketReader:
    """Every packet of a byte stream as an object, with the framing of ``Demuxer``: for ``decode``, ``inspect`` and tests."""

    def __init__(self, max_body: int = MAX_BODY, sim_bytes: int = 0) -> None:
        self._packets: list[Packet] = []
        self.demuxer = Demuxer(max_body, sim_bytes, self)

    def packet(self, data: bytes, start: int, end: int, sim_bytes: int) -> None:
        packet = parse_packet(data[start:end], 0, sim_bytes)
        if packet is not None:
            self._packets.append(packet)

    def retract(self) -> None:
        if self._packets:
            self._packets.pop()

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes; gives the packets that are whole with them."""
        self.demuxer.feed(data, 0.0)
        found, self._packets = self._packets, []
        return found

    def finish(self) -> list[Packet]:
        """The end of the stream: ``garbage_bytes`` and ``trailing_bytes`` are final then."""
        self.demuxer.finish(0.0)
        found, self._packets = self._packets, []
        return found

    @property
    def garbage_bytes(self) -> int:
        return self.demuxer.garbage_bytes

    @property
    def trailing_bytes(self) -> int:
        return self.demuxer.trailing_bytes
