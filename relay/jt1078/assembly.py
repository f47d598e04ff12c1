"""From packets to whole frames: reassembly per (SIM, channel, kind of media), JT/T 1078-2016 table 19, 分包处理标记.

``demux`` (TCP) and ``datagram`` (UDP) find the packets and say whether each follows on; here their bodies are joined::

    mark      nothing open                 a frame open
    ATOMIC    a whole frame                the open one lacks its end
    FIRST     opens                        the open one lacks its end, opens anew
    MIDDLE    rest of a damaged frame      appends
    LAST      rest of a damaged frame      appends, completes

A frame with a packet missing inside is dropped and counted. Packets with an empty body carry nothing, start nothing, end nothing.

seen: sub-package marks and M bits that lie. A track whose packets contradict their marks (a "whole" frame followed by bytes with the
same time stamp that begin no NAL unit; a first packet while the one before goes on; middle ones without a first) is joined by time
stamp from then on, and M = 1 ends a frame where M has been seen to tell inner packets from last ones. The very first frames of a
track are held until the next packet when they look like the beginning of such a run; all others leave with their last byte.
"""

from __future__ import annotations

from relay.jt1078.packet import FIRST_VIDEO_PT, LAST_AUDIO_PT, LAST_VIDEO_PT, DataType, SubpackageMark

#: the longest frame: an I frame of 4K pictures has some 1 MiB; and the packets of it, if they are full by a half
FRAME_MAX, PARTS_MAX = 4 * 1024 * 1024, 8192
#: how many frames of a track may be held for a look at the packet after them
_TRIAL_FRAMES = 4
#: unmarked ends (time stamp changed, nothing missing, no LAST seen) after which a track is joined by time stamp
_UNMARKED_ENDS = 2
#: frames of several packets, joined by time stamp, after which marks that agree are believed again
_AGREED = 16


class Counter:
    """The number of the last packet within one scope of counting."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = UNKNOWN


#: no sequence number is one more than this
UNKNOWN = -(1 << 20)
#: what a track's ``counter`` is while its packets need more than the fast path
NEVER = Counter()


class Loss:
    """What went wrong before a frame; a frame that simply follows has none."""

    __slots__ = ("frames", "interval", "maybe", "packets", "restart")

    def __init__(self, packets: int, maybe: int, frames: int, restart: bool, interval: int) -> None:
        self.packets = packets  #: packets known to be missing from this track
        self.maybe = maybe  #: packets missing from a count shared with other tracks: this one's or another's
        self.frames = frames  #: frames of this track dropped because they were not whole
        self.restart = restart  #: the terminal began to count anew
        self.interval = interval  #: Last Frame Interval of the frame that follows, ms (video; it tells whether ``maybe`` is ours); else -1

    def __repr__(self) -> str:
        return f"<Loss packets={self.packets} maybe={self.maybe} frames={self.frames} restart={self.restart} interval={self.interval}>"


class RawFrame:
    """One whole frame as the terminal sent it: the bodies of its packets, joined."""

    __slots__ = ("arrival", "body", "channel", "data_type", "loss", "packets", "pt", "sim", "timestamp")

    def __init__(
        self, sim: str, channel: int, pt: int, data_type: int, timestamp: int, body: bytes, packets: int, arrival: float, loss: Loss | None = None
    ) -> None:
        self.sim = sim  #: digits as on the wire, hex where it is not BCD
        self.channel = channel
        self.pt = pt
        self.data_type = data_type  #: of its last packet; terminals get I, P and B wrong
        self.timestamp = timestamp  #: as on the wire; 0 for transparent data, which has none
        self.body = body
        self.packets = packets
        self.arrival = arrival  #: monotonic seconds at which its last byte was read
        self.loss = loss

    @property
    def lost_before(self) -> int:
        """Packets known to be missing before this frame in its own track."""
        return self.loss.packets if self.loss is not None else 0

    def __repr__(self) -> str:
        return (
            f"<RawFrame {self.sim}_{self.channel} pt={self.pt} type={self.data_type} ts={self.timestamp}"
            f" {len(self.body)} bytes in {self.packets}{f' {self.loss}' if self.loss else ''}>"
        )


class Track:
    """One kind of media of one (SIM, channel): the frame being joined and what has been learnt about its marks."""

    __slots__ = (
        "agreed",
        "annexb",
        "by_time",
        "counter",
        "data_type",
        "held",
        "interval",
        "kind",
        "lost",
        "lost_frames",
        "m_ends",
        "m_inner",
        "m_lies",
        "marks",
        "maybe",
        "mpt",
        "orphan",
        "own",
        "parts",
        "restart",
        "slice",
        "stream",
        "trial",
        "ts",
        "unmarked",
    )

    def __init__(self, stream: Stream, kind: int) -> None:
        self.stream = stream
        self.kind = kind  #: VIDEO, AUDIO or DATA
        self.counter = NEVER  #: what the next packet must follow for the fast path; NEVER while something is pending
        self.own = Counter()
        self.parts: list[bytes] = []  #: bodies of the open frame; the list itself never changes, so that loops may keep it
        self.ts = -1  #: time stamp of the open frame, else of the last one
        self.mpt = 0  #: M and PT of the open frame's latest packet that was looked at
        self.data_type = 0  #: of the open frame
        self.annexb = False  #: the frame with time stamp ``ts`` began with a start code
        self.slice = False  #: joining by time stamp: the open frame has a slice already
        self.orphan = -1  #: time stamp of a frame given up, whose other packets may still come
        self.held = 0.0  #: when the open frame ended by its marks, if it waits for the packet after it; else 0
        self.trial = _TRIAL_FRAMES if kind == VIDEO else 0
        self.by_time = False
        self.unmarked = 0
        self.marks = b""  #: joining by time stamp: the marks of the open frame, a letter each
        self.agreed = 0  #: frames in a row whose marks agreed with the time stamps
        self.m_inner = 0  #: inner packets seen with M = 0
        self.m_lies = False  #: an inner packet was seen with M = 1
        self.m_ends = False  #: frames end with M = 1 here
        self.lost = 0  #: what the next frame's Loss will say
        self.maybe = 0
        self.lost_frames = 0
        self.restart = False
        self.interval = -1

    @property
    def clean(self) -> bool:
        """Nothing is pending that the fast path does not know of."""
        return not (self.by_time or self.held or self.trial or self.lost or self.maybe or self.lost_frames or self.restart)


VIDEO, AUDIO, DATA = 0, 1, 2


class Stream:
    """One (SIM, channel) and its counters."""

    __slots__ = ("audio", "channel", "counter", "data", "dropped_packets", "incomplete_frames", "lost_packets", "restarts", "sim", "video")

    def __init__(self, sim: str, channel: int) -> None:
        self.sim = sim
        self.channel = channel
        self.counter = Counter()
        self.video = Track(self, VIDEO)
        self.audio = Track(self, AUDIO)
        self.data = Track(self, DATA)
        self.lost_packets = 0  #: numbers missing where the count is known to go on
        self.dropped_packets = 0  #: packets of frames that were not whole
        self.incomplete_frames = 0
        self.restarts = 0

    def track(self, pt: int, data_type: int) -> Track:
        """The track a packet belongs to. Where PT and data type contradict each other the PT says what the bytes are."""
        if data_type >= DataType.TRANSPARENT:
            return self.data
        if 1 <= pt <= LAST_AUDIO_PT:
            return self.audio
        if FIRST_VIDEO_PT <= pt <= LAST_VIDEO_PT or data_type != DataType.AUDIO:
            return self.video
        return self.audio


def begins_unit(body: bytes) -> bool:
    """Whether the body begins with an Annex B start code, 00 00 01 or 00 00 00 01."""
    return body.startswith((b"\0\0\0\1", b"\0\0\1"))


def _nal_head(body: bytes, pt: int) -> tuple[bool, bool]:
    """Of a body that begins with a start code: is its first NAL unit a slice, and can it begin a picture?"""
    at = 4 if body[2] == 0 else 3
    if pt == 99:
        kind = body[at] >> 1 & 0x3F if len(body) > at + 2 else 63
        return kind < 32, (kind < 32 and body[at + 2] >= 0x80) or 32 <= kind <= 35
    kind = body[at] & 0x1F if len(body) > at + 1 else 0
    return kind in (1, 5), (kind in (1, 5) and body[at + 1] >= 0x80) or kind in (7, 9)


class Assembler:
    """Joins bodies; one for a connection, or for a source of datagrams."""

    __slots__ = ("lying_tracks", "unmarked_ends")

    def __init__(self) -> None:
        self.unmarked_ends = 0  #: frames whose LAST mark was missing although no packet was
        self.lying_tracks = 0  #: tracks that went over to joining by time stamp

    def missing(self, track: Track, count: int, certain: bool, out: list[RawFrame]) -> None:
        """``count`` packets are missing; ``certain`` when the count they are missing from is this track's alone."""
        self.release(track, out)
        if track.parts:
            self.drop(track)
        if certain:
            track.lost += count
        else:
            track.maybe += count
        track.counter = NEVER

    def restarted(self, track: Track, out: list[RawFrame]) -> None:
        """The terminal counts anew: what was open stays unfinished."""
        self.release(track, out)
        if track.parts:
            self.drop(track)
        track.restart = True
        track.counter = NEVER

    def drop(self, track: Track) -> None:
        """Give the open frame up; the rest of its packets will be passed over."""
        track.stream.dropped_packets += len(track.parts)
        track.parts.clear()
        track.held = 0.0
        self._damaged(track, track.ts)

    def retract(self, track: Track, frame: RawFrame) -> None:
        """A frame that has just been given out turned out to be damaged, before anybody saw it."""
        track.stream.dropped_packets += frame.packets
        if frame.loss is not None:
            track.lost += frame.loss.packets
            track.maybe += frame.loss.maybe
            track.lost_frames += frame.loss.frames
        self._damaged(track, frame.timestamp)

    def release(self, track: Track, out: list[RawFrame]) -> None:
        """Let a held frame go: nothing speaks against its being whole."""
        if track.held:
            self._emit(track, track.held, out)
            track.held = 0.0
            track.trial -= 1

    def finish(self, track: Track, now: float, out: list[RawFrame]) -> None:
        """The end: frames that only a following packet could have completed leave, unfinished ones are dropped and counted."""
        self.release(track, out)
        if track.parts:
            if track.by_time and not track.m_ends:
                self._emit(track, now, out)
            else:
                self.drop(track)

    def accept(
        self,
        track: Track,
        mpt: int,
        kind: int,
        ts: int,
        body: bytes,
        follows: bool,
        now: float,
        out: list[RawFrame],
        interval: int = -1,
    ) -> None:
        """Take one packet in: ``mpt`` and ``kind`` are bytes 5 and 15 of its header, ``interval`` its Last Frame Interval.

        ``follows``: it is known that none is missing between this one and the last of its track. Gaps have been reported before
        (``missing``, ``restarted``), so a frame that is open goes on here.
        """
        if not body:
            return
        if track.kind != VIDEO:
            self._accept_block(track, mpt, kind, ts, body, follows, now, out)
            return
        mark = kind & 0x0F
        starts = begins_unit(body)
        opens = mark in (SubpackageMark.ATOMIC, SubpackageMark.FIRST)
        fresh = track.ts < 0 and track.orphan < 0 and starts and _nal_head(body, mpt & 0x7F)[1]
        if not track.by_time and (follows or fresh) and track.orphan != ts:
            # By everything but its mark this packet goes on with the frame of its time stamp, or begins one.
            goes_on = not starts and ts == track.ts and track.annexb and (opens or track.held or not track.parts)
            begins = starts and not opens and (ts != track.ts or not track.parts)
            if goes_on or begins:
                # seen: all packets marked atomic, or first, or middle; LAST and MIDDLE swapped (the order of 2 and 3 invites it)
                self._distrust(track)
                if goes_on:
                    track.held = 0.0
                    if not track.parts:
                        self._damaged(track, ts)  # what went out before was only its beginning
        if track.by_time:
            self._join_by_time(track, mpt, kind, ts, body, starts, now, out, interval)
            return
        self.release(track, out)
        if opens:
            if track.parts:
                self._end_unmarked(track, follows, now, out)
            self._open(track, mpt, kind, ts, body, starts, interval)
        elif not track.parts:
            self._pass_over(track, ts)
            return
        elif ts != track.ts and not follows:
            self.drop(track)
            self._pass_over(track, ts)
            return
        else:
            track.parts.append(body)
            if self._too_long(track):
                return
            if mark == SubpackageMark.MIDDLE:
                track.trial = 0  # a first one and a middle one: these marks are meant
        if mark == SubpackageMark.ATOMIC or mark == SubpackageMark.LAST:
            track.mpt = mpt
            self._complete(track, body, now, out)

    def _accept_block(
        self, track: Track, mpt: int, kind: int, ts: int, body: bytes, follows: bool, now: float, out: list[RawFrame]
    ) -> None:
        """Sound and transparent data: nearly always one packet a frame, so lying marks mean that each packet is one."""
        mark = kind & 0x0F
        opens = mark in (SubpackageMark.ATOMIC, SubpackageMark.FIRST)
        if not opens and not track.parts and not track.by_time:
            if not follows or track.orphan == ts:
                self._pass_over(track, ts)
                return
            self._distrust(track)
        if opens or track.by_time:
            if track.parts:
                self._end_unmarked(track, follows, now, out)
            self._open(track, mpt, kind, ts, body, False, -1)
        else:
            track.parts.append(body)
            if self._too_long(track):
                return
        if track.by_time or mark == SubpackageMark.ATOMIC or mark == SubpackageMark.LAST:
            self._emit(track, now, out)

    def _join_by_time(
        self, track: Track, mpt: int, kind: int, ts: int, body: bytes, starts: bool, now: float, out: list[RawFrame], interval: int
    ) -> None:
        slice_, picture = _nal_head(body, mpt & 0x7F) if starts else (False, False)
        parts = track.parts
        if parts and (ts != track.ts or (picture and track.slice)):
            self._emit_joined(track, now, out)
        if parts:
            parts.append(body)
            if self._too_long(track):
                return
            if track.mpt & 0x80:
                track.m_lies, track.m_ends = True, False
            else:
                track.m_inner += 1
        elif starts:
            self._open(track, mpt, kind, ts, body, starts, interval)
            track.slice = False
            track.marks = b""
        else:
            self._pass_over(track, ts)
            return
        track.marks += b"AFLM"[kind & 3 : (kind & 3) + 1]
        track.slice = track.slice or slice_
        track.mpt = mpt
        if mpt & 0x80 and track.m_inner and not track.m_lies:
            track.m_ends = True
            self._emit_joined(track, now, out)

    def _emit_joined(self, track: Track, now: float, out: list[RawFrame]) -> None:
        """Marks that have been right for many frames are believed again: what spoke against them was an accident."""
        marks = track.marks
        if len(marks) > 1:
            honest = marks == b"F" + b"M" * (len(marks) - 2) + b"L"
            track.agreed = track.agreed + 1 if honest else 0
        elif marks != b"A":
            track.agreed = 0
        self._emit(track, now, out)
        if track.agreed >= _AGREED:
            track.agreed = 0
            track.by_time = False
            track.trial = 0

    def _too_long(self, track: Track) -> bool:
        """A frame that never ends must not hold memory; looked at every 64 packets. (The loop of ``demux`` has a bound of its own.)"""
        parts = track.parts
        if len(parts) & 63 or (len(parts) < PARTS_MAX and sum(map(len, parts)) <= FRAME_MAX):
            return False
        self.drop(track)
        return True

    def _open(self, track: Track, mpt: int, kind: int, ts: int, body: bytes, starts: bool, interval: int) -> None:
        track.parts.append(body)
        track.ts = ts
        track.mpt = mpt
        track.data_type = kind >> 4
        track.annexb = starts
        track.interval = interval

    def _complete(self, track: Track, body: bytes, now: float, out: list[RawFrame]) -> None:
        """A frame ends here by its marks. While those are on trial, what may be the beginning of a longer run waits for the next packet."""
        if track.trial:
            if len(track.parts) == 1:
                suspicious = track.annexb and (900 <= len(body) <= 1450 or (track.mpt < 0x80 and len(body) >= 400))
            else:
                suspicious = track.annexb and len(body) == len(track.parts[0])
                if not suspicious:
                    track.trial = 1  # first … last, and the last one shorter: these marks are meant
            if suspicious:
                track.held = now or 1e-9
                return
            track.trial -= 1
        self._emit(track, now, out)

    def _emit(self, track: Track, now: float, out: list[RawFrame]) -> None:
        """The open frame is whole."""
        loss = None
        if track.lost or track.maybe or track.lost_frames or track.restart:
            loss = Loss(track.lost, track.maybe, track.lost_frames, track.restart, track.interval)
            track.lost = track.maybe = track.lost_frames = 0
            track.restart = False
        stream = track.stream
        parts = track.parts
        out.append(
            RawFrame(stream.sim, stream.channel, track.mpt & 0x7F, track.data_type, track.ts, b"".join(parts), len(parts), now, loss)
        )
        parts.clear()
        track.orphan = -1

    def _end_unmarked(self, track: Track, follows: bool, now: float, out: list[RawFrame]) -> None:
        """A new frame begins while one is open. If nothing is missing, then only its LAST mark was: it is whole."""
        if not follows:
            self.drop(track)
            return
        self._emit(track, now, out)
        self.unmarked_ends += 1
        track.unmarked += 1
        if track.unmarked == _UNMARKED_ENDS:
            self._distrust(track)

    def _distrust(self, track: Track) -> None:
        track.by_time = True
        track.counter = NEVER
        self.lying_tracks += 1

    def _pass_over(self, track: Track, ts: int) -> None:
        """A packet of a frame whose beginning is missing or which was given up."""
        track.stream.dropped_packets += 1
        if track.orphan != ts:
            self._damaged(track, ts)

    def _damaged(self, track: Track, ts: int) -> None:
        track.orphan = ts
        track.stream.incomplete_frames += 1
        track.lost_frames += 1
        track.counter = NEVER
