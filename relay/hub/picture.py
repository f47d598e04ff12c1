"""Pictures of one stream: from the bytes between the first and the last packet of a frame to access units with a configuration and times.

    NAL units ── which codec is it really ── parameter sets kept, a change is a new configuration ── delimiters and filler removed
        ── slices of one picture gathered ── key frame by NAL type ── loss policy ── times

The kind the packet tells (I, P, B) is not believed: terminals mark I frames as P, or all as I (JT/T 1078-2016 table 19, 数据类型).

One frame of packets is one access unit nearly always, and leaves at once. seen: terminals that send each NAL unit as a frame of its own; parameter sets
that come alone with the picture's time stamp give them away, else the first slice that does not begin a picture. Their pictures wait for the next one, or
until the number of their pieces is known. A key frame whose first slice has left already leaves once more, whole.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from relay.codec import h264, h265
from relay.codec.frame import VIDEO, Frame, VideoConfig
from relay.codec.nalu import from_avcc, split_annexb, to_avcc
from relay.errors import DecodeError
from relay.hub.parameters import ParameterSets
from relay.jt1078.assembly import Loss, RawFrame
from relay.jt1078.timeline import Timeline

#: an encoder with open GOPs may never send an IDR picture: after so long an I picture will do, its parameter sets being known
NO_IDR_S = 4.0
#: and if IDR pictures have come before, but none for so long (terminals send one every 1 to 10 s), I pictures are key frames again
RARE_IDR_S = 12.0
#: NAL units without a picture (SEI) kept for the next one
AHEAD_MAX = 16
#: a picture that waits for more of its slices waits no longer than this
HOLD_S = 0.25
#: pieces of one picture; a terminal with slices of its own frames has some
PIECES_MAX = 256
#: pictures in a row with as many pieces, after which that is their number, until one shows that it is not
ALIKE = 8
#: and pictures in one piece after which nothing is waited for any more
ALIKE_WHOLE = 12
#: a step of the stamps that is longer than usual by this factor has room for a lost picture
_ROOM = 1.6

_LENGTH = struct.Struct(">I").pack
_new = object.__new__
#: by the second byte of an H.264 slice: it begins a picture (first_mb_in_slice 0: one bit, 1) and is of type P (0 or 5: 1, 00110)
_BEGINS_P = bytes(f"{byte:08b}".startswith(("11", "100110")) for byte in range(256))
#: or of type B (1 or 6: 010, 00111)
_BEGINS_B = bytes(f"{byte:08b}".startswith(("1010", "100111")) for byte in range(256))
#: by PT, what the two telling bytes behind the start code of a plain picture may be: the first, and the second (H.264) or third (H.265) one
PLAIN_BYTES = {
    98: (bytes(byte & 0x1F == 1 for byte in range(256)), _BEGINS_P),
    99: (bytes(byte < 0x14 for byte in range(256)), bytes(byte >= 0x80 for byte in range(256))),
}
Count = Callable[[str], None]


class Lent(NamedTuple):
    """State of the pictures, and of their clock."""

    pt: int
    config: VideoConfig
    stamp: int  #: of the last picture
    offset: int  #: from stamps to the output clock
    easy: int  #: steps up to here need only adding


class Held:
    """A picture that may not be whole yet."""

    __slots__ = ("arrival", "count", "key", "nalus", "pieces", "resets", "since", "stamp", "times")

    def __init__(self, nalus: list[bytes], key: bool, count: int | None, raw: RawFrame, now: float) -> None:
        self.nalus = nalus
        self.key = key
        self.count = count  #: picture order count
        self.resets = False  #: counts begin anew with it
        self.times: tuple[int, int] | None = None  #: dts and pts, once they have been given
        self.stamp = raw.timestamp
        self.arrival = raw.arrival
        self.since = now
        self.pieces = 1


class UsualKey(NamedTuple):
    """How the last key frame began, if it had one slice: the next ones mostly begin alike, byte for byte."""

    head: bytes  #: of the frame, as far as the bit of its slice that says that a picture begins
    slice_at: int  #: where in the frame the slice is
    lead: list[bytes]  #: NAL units other than parameter sets before the slice
    resets: bool


class Pictures:
    """One stream's pictures."""

    def __init__(self, timeline: Timeline, count: Count, keep: bool) -> None:
        self.need_key = True  #: the next picture passed on will be a key frame
        self.config: VideoConfig | None = None
        self._timeline = timeline
        self._count = count
        self._keep = keep  #: loss policy: pass on whatever is whole
        self._codec = ""
        self._other_pt = -1  #: a payload type that is none of a picture's, but whose frames hold pictures
        self._other_codec = ""
        self._sets = ParameterSets("")
        self._sets_stamp = -1  #: time stamp of parameter sets that came alone
        self._ahead: list[bytes] = []
        self._waiting_since = -1.0
        self._had_idr = False
        self._idr_at = 0.0
        self._open = False  #: there are no IDR pictures: others serve as key frames
        self._last_stamp = -1
        self._key_stamp = -1  #: of the last key frame, and
        self._since_key = 0  #: pictures since then: their usual distance
        self._last_key: Held | None = None  #: the last picture, if it was a key frame
        self.held: Held | None = None  #: a picture that waits for more of its slices
        self._hold = False  #: pictures come in pieces, or may
        self._pieces = 0  #: of each picture, when it is known
        self._seen_pieces = 0  #: of the last one
        self._alike = 0
        self._told_wrong = ""  #: what the payload type says, where parameter sets have contradicted it
        self._counts = False  #: picture order counts tell something with this configuration
        self._countable = True  #: pictures have as many pieces as those before, as far as is known
        self._order: h264.PocCounter | h265.PocCounter | None = None
        self._depth = 0  #: as the configuration says
        self._b_frames = False  #: seen in this configuration
        self._plain = 0  #: PT whose ordinary frames may take the short way
        self._usual_key: UsualKey | None = None
        self._clock = timeline.plain

    def restart(self, now: float) -> None:
        """Another connection feeds the stream from now on."""
        self.need_key = True
        self._plain = 0
        self._usual_key = None
        self._waiting_since = now
        self.held = None
        self._hold = False
        self._pieces = 0
        self._last_stamp = -1
        self._last_key = None
        self._order = None
        self._had_idr = self._open = False
        self._ahead.clear()

    def lend(self) -> Lent | None:
        """What ``shortcut`` needs to pass ordinary pictures on in our stead; None while they need a second look."""
        pace = self._timeline.lend()
        if not self._plain or self.config is None or pace is None:
            return None
        return Lent(self._plain, self.config, *pace)

    def take_back(self, count: int, stamp: int, step: int, now: float) -> None:
        """So many pictures have been passed on, the last one with this stamp, so many ms after the one before it, at ``now``."""
        self._last_stamp = stamp
        self._since_key += count
        self._last_key = None
        self._timeline.take_back(stamp, step, now)

    # -- one frame of packets -----------------------------------------------------------------------------------------------------------

    def push(self, raw: RawFrame, now: float) -> list[Frame]:
        """The access units that are whole with this frame."""
        body = raw.body
        pt = raw.pt
        if pt != self._plain or raw.loss is not None or len(body) < 8:
            return self._push(raw, now)
        if (
            (body[4] & 0x1F == 1 and _BEGINS_P[body[5]] if pt == 98 else body[4] < 0x14 and body[6] >= 0x80)
            and not body[0]
            and body.rfind(b"\0\0\1") == 1  # the one start code; in CPython 3.11 this is twice as fast as ``find``
        ):
            # Nearly every frame: one slice, a whole picture, not a key frame.
            stamp = self._last_stamp = raw.timestamp
            self._since_key += 1
            self._last_key = None
            nalu = body[4:] if body[-1] else body[4:].rstrip(b"\0")
            frame = _new(Frame)
            frame.kind = VIDEO
            frame.dts = frame.pts = self._clock(stamp, now)
            frame.key = False
            frame.data = _LENGTH(len(nalu)) + nalu
            frame.config = self.config  # type: ignore[assignment]
            frame.samples = 0
            frame.source_time = raw.arrival
            return [frame]
        usual = self._usual_key
        if usual is not None and body.startswith(usual.head) and body.find(b"\0\0\1", len(usual.head)) < 0 and not self._wants_counts():
            # A key frame that begins as the last one did: the same parameter sets, then its only slice.
            out: list[Frame] = []
            self._idr_at = now
            self._order = None
            picture = Held([*usual.lead, body[usual.slice_at :].rstrip(b"\0")], True, None, raw, now)
            picture.resets = usual.resets
            self._emit(picture, now, out)
            if self._wants_counts():  # its stamp has gone back
                self._plain = 0
            return out
        return self._push(raw, now)

    def _wants_counts(self) -> bool:
        return self._counts and self._timeline.wants_counts

    def _push(self, raw: RawFrame, now: float) -> list[Frame]:
        self._plain = 0
        out: list[Frame] = []
        nalus = self._units(raw)
        if raw.loss is not None:
            if self.held is not None and (raw.loss.frames or raw.loss.packets):
                self.held = None
                self._count("incomplete_pictures")
            self._lost(raw, raw.loss)
        if not nalus:
            return out
        slices, changed, key, begins = self._sort(nalus)
        held = self.held
        if held is not None and (slices is None or begins or raw.timestamp != held.stamp):
            self._flush(out, now)
            held = None
        if slices is None:
            self._sets_stamp = raw.timestamp
            self._count("parameter_sets_alone")
            return out
        if not begins:
            if held is not None:
                self._gather(held, slices, key, raw, now, out)
            else:
                self._late_slices(slices, raw, now)
            return out
        if self._sets_stamp == raw.timestamp and not self._alike:
            self._hold = True
        self._sets_stamp = -1
        picture = self._begin(slices, changed, key, raw, now)
        if picture is None:
            return out
        if self._hold and self._pieces != 1:
            self.held = picture
            return out
        self._emit(picture, now, out)
        unknown = self._open and self._codec == "h265"  # whether a slice is an I slice stands deeper in its header
        if not self._hold and not self._wants_counts() and not self._sets.stale and not unknown and raw.pt == (98 if self._codec == "h264" else 99):
            self._plain = raw.pt
            if key:
                alone = self._first_slice(slices) is slices[-1] and self._sets.one_sequence
                self._usual_key = _usual_key(raw, nalus, slices, picture.resets) if alone else None
        return out

    def tick(self, now: float) -> list[Frame]:
        """Let a held picture go that has waited long enough."""
        out: list[Frame] = []
        if self.held is not None and now - self.held.since > HOLD_S:
            self._flush(out, now)
        return out

    def finish(self, now: float) -> list[Frame]:
        """No more will come."""
        out: list[Frame] = []
        self._flush(out, now)
        return out

    @property
    def seen(self) -> bool:
        """Pictures come, whether or not one could be begun with."""
        return bool(self._codec)

    def are_in(self, raw: RawFrame) -> bool:
        """Whether a frame with another payload type than 98 and 99 holds pictures nevertheless: it begins with parameter sets, or such a one did."""
        if raw.pt != self._other_pt:
            codec = _codec_of(split_annexb(raw.body), "h265")
            if not codec:
                return False
            self._other_pt, self._other_codec = raw.pt, codec
        return True

    # -- NAL units ----------------------------------------------------------------------------------------------------------------------

    def _units(self, raw: RawFrame) -> list[bytes]:
        """The NAL units, and which codec they are of: the payload type says it, parameter sets that contradict it are believed."""
        nalus = split_annexb(raw.body)
        if not nalus:
            try:
                nalus = from_avcc(raw.body)  # seen: units behind their length instead of a start code
            except DecodeError:
                nalus = []
            if not nalus or len(raw.body) < 5:
                self._count("no_nal_unit")
                return []
        told = "h264" if raw.pt == 98 else "h265" if raw.pt == 99 else self._other_codec
        found = _codec_of(nalus, self._codec or told)
        if found:
            if found != told and self._told_wrong != told:
                self._count("codec_is_not_as_told")
            self._told_wrong = told if found != told else ""
        codec = found or (self._codec if told == self._told_wrong else told)
        if codec != self._codec:
            self._codec, self._sets, self.need_key, self._order, self.held, self._last_key = codec, ParameterSets(codec), True, None, None, None
            self._open = False
        return nalus

    def _sort(self, nalus: list[bytes]) -> tuple[list[bytes] | None, bool, bool, bool]:
        """Slices and what goes with them (None: no picture here), whether parameter sets changed, key frame, beginning of a picture."""
        hevc = self._codec == "h265"
        slices: list[bytes] = []
        fresh: list[bytes] = []
        coded = key = begins = False
        for nalu in nalus:
            kind = nalu[0] >> 1 & 0x3F if hevc else nalu[0] & 0x1F
            if (32 <= kind <= 34) if hevc else (kind == 7 or kind == 8):
                if self._remember(nalu):
                    fresh.append(nalu)
            elif (kind == 35 or kind == 38) if hevc else (kind == 9 or kind == 12):
                begins = begins or (not coded and kind in (9, 35))
            else:
                if (kind < 32) if hevc else (1 <= kind <= 5):
                    if not coded:
                        begins = begins or (len(nalu) > 2 and nalu[2] >= 0x80 if hevc else len(nalu) > 1 and nalu[1] >= 0x80)
                    coded = True
                    key = key or ((16 <= kind <= 21) if hevc else kind == 5)
                slices.append(nalu)
        if not coded:
            self._ahead = (self._ahead + slices)[:AHEAD_MAX]
            return None, bool(fresh), False, False
        if self._ahead and begins:
            slices = self._ahead + slices
            self._ahead = []
        if fresh and not key and not self.need_key:
            slices = fresh + slices  # the configuration changes at the next key frame only; until then they travel with the pictures
        return slices, bool(fresh), key, begins

    def _remember(self, nalu: bytes) -> bool:
        """Keep a parameter set; True if it is new or changed."""
        try:
            fresh = self._sets.remember(nalu)
            if fresh:
                self._usual_key = None
            return fresh
        except DecodeError:
            self._count("broken_parameter_set")
            return False

    def _configure(self, first: bytes) -> bool:
        """Make the configuration that the key frame beginning with this slice needs."""
        try:
            config = self._sets.configuration(first)
            if config is None:
                return False
            if config is not self.config or self._order is None:
                if config is not self.config:
                    self._b_frames = False
                self._order = self._sets.counter(first)
                self._counts = self._order is not None
        except DecodeError:
            self._count("broken_parameter_set")
            return False
        self._depth = config.reorder
        if config != self.config:
            self.config = config
        return True

    # -- pictures -----------------------------------------------------------------------------------------------------------------------

    def _begin(self, slices: list[bytes], changed: bool, key: bool, raw: RawFrame, now: float) -> Held | None:
        """A picture begins: may it go, and with which configuration?"""
        if key:
            self._had_idr = True
            self._idr_at = now
            self._open = False
        elif self._intra_will_do(slices, now):
            key = True
        if self.need_key and not key:
            self._count("before_key_frame")
            return None
        first = self._first_slice(slices)
        if key and not self._configure(first):
            self.need_key = True
            self._count("no_parameter_sets")
            return None
        if self.config is None or self.config.codec != self._codec:
            self._count("no_parameter_sets")
            return None
        self.need_key = False
        self._waiting_since = -1.0
        picture = Held(slices, key, self._order_count(first, key), raw, now)
        picture.resets = first[0] & 0x1F == h264.NAL_IDR if self._codec == "h264" else h265.NAL_BLA_W_LP <= first[0] >> 1 & 0x3F <= h265.NAL_IDR_N_LP
        return picture

    def _first_slice(self, nalus: list[bytes]) -> bytes:
        if self._codec == "h265":
            return next(nalu for nalu in nalus if nalu[0] >> 1 & 0x3F < h265.NAL_VCL_END)
        return next(nalu for nalu in nalus if 1 <= nalu[0] & 0x1F <= h264.NAL_IDR)

    def _order_count(self, first: bytes, key: bool) -> int | None:
        if not self._b_frames and self._codec == "h264" and _BEGINS_B[first[1]] and first[0] & 0x1F == h264.NAL_SLICE:
            self._b_frames = True
            self._timeline.expect_b_frames()  # counts begin with the next key frame
        if not self._counts or not self._timeline.wants_counts:
            self._order = None
            return None
        if self._order is None and (not key or not self._configure(first)):
            return None
        try:
            return self._order.next(first) if self._order is not None else None
        except DecodeError:
            self._count("broken_slice_header")
            self._order = None
            return None

    def _gather(self, held: Held, slices: list[bytes], key: bool, raw: RawFrame, now: float, out: list[Frame]) -> None:
        """More slices of the picture that waits."""
        held.nalus += slices
        held.key = held.key or key
        held.arrival = raw.arrival
        held.pieces += 1
        if held.pieces == self._pieces or held.pieces >= PIECES_MAX:
            self._flush(out, now)

    def _late_slices(self, slices: list[bytes], raw: RawFrame, now: float) -> None:
        """Slices of a picture that is gone, or never began."""
        last = self._last_key
        if raw.timestamp == self._last_stamp and raw.loss is None and not self.need_key:
            if self._hold:
                self._countable = False  # it had been taken for whole
            self._hold, self._pieces, self._alike = True, 0, 0  # from now on pictures wait for their slices
            if last is not None and last.pieces == 1:
                last.nalus += slices
                last.pieces += 1
                last.since = now
                last.arrival = raw.arrival
                self.held, self._last_key = last, None
                return
        self._count("slices_without_beginning")
        if not self._keep:
            self.need_key = True

    def _flush(self, out: list[Frame], now: float) -> None:
        held, self.held = self.held, None
        if held is None:
            return
        self._alike = self._alike + 1 if held.pieces == self._seen_pieces else 0
        self._seen_pieces = held.pieces
        if self._alike >= ALIKE and self._countable:
            self._pieces = held.pieces
            if held.pieces == 1 and self._alike >= ALIKE_WHOLE:
                self._hold = False
        else:
            self._pieces = 0
        self._emit(held, now, out)

    def _emit(self, picture: Held, now: float, out: list[Frame]) -> None:
        config = self.config
        if config is None:
            return
        if picture.times is None:
            if picture.key:
                self._key_stamp, self._since_key = picture.stamp, 0
            else:
                self._since_key += 1
            self._last_stamp = picture.stamp
            unit = 1 if self._codec == "h265" else 2
            depth = 1 if self._b_frames and picture.count is None and not self._depth else self._depth
            picture.times = self._timeline.video(picture.stamp, now, picture.count, picture.resets, depth, unit)
        dts, pts = picture.times
        self._last_key = picture if picture.key else None
        out.append(Frame(VIDEO, dts, pts, picture.key, to_avcc(picture.nalus), config, 0, picture.arrival))

    def _lost(self, raw: RawFrame, loss: Loss) -> None:
        """Something is missing before this frame: was it a picture?"""
        ours = loss.packets > 0 or loss.frames > 0
        if not ours and loss.maybe:
            ours = True  # as long as nothing speaks against it
            if self._last_stamp >= 0:
                # The count is shared with sound, or with other channels. No room between this picture and the last one: it was theirs.
                step = raw.timestamp - self._last_stamp
                as_told = 0 < loss.interval < 2000 and abs(step - loss.interval) <= 2
                ours = not (as_told or 0 < step < _ROOM * self._usual_step)
        if ours:
            self._count("losses")
            if not self._keep and not self.need_key:
                self.need_key = True
                self._waiting_since = -1.0

    @property
    def _usual_step(self) -> float:
        """Distance of the stamps of pictures, ms: since the last key frame, where that tells enough."""
        if self._since_key >= 2 and 5 <= (step := (self._last_stamp - self._key_stamp) / self._since_key) <= 2000:
            return step
        return self._timeline.usual_step

    def _intra_will_do(self, slices: list[bytes], now: float) -> bool:
        """No IDR picture comes: an I picture, or a recovery point, is the best there is to begin with."""
        if self._had_idr and not self.need_key and now - self._idr_at < RARE_IDR_S:
            return False
        if self.need_key and not self._open:
            if self._waiting_since < 0:
                self._waiting_since = now
                return False
            if now - self._waiting_since < NO_IDR_S:
                return False
        try:
            intra = self._is_intra(slices)
        except DecodeError:
            return False
        if intra:
            self._open = True
            self._usual_key = None  # the next IDR picture ends this
            self._count("began_without_idr")
        return intra

    def _is_intra(self, nalus: list[bytes]) -> bool:
        """I slices only, or a recovery point."""
        if not self._sets.complete:
            return False
        if self._codec == "h264":
            if any(nalu[0] & 0x1F == h264.NAL_SEI and h264.has_recovery_point(nalu) for nalu in nalus):
                return True
            return all(h264.slice_type(nalu) in (h264.SLICE_I, 4) for nalu in nalus if 1 <= nalu[0] & 0x1F <= h264.NAL_IDR)
        first = self._first_slice(nalus)
        if self._sets.configuration(first) is None:
            return False
        return h265.slice_header(first, h265.parse_sps(self._sets.sequence), self._sets.picture_set(first)).slice_type == h265.SLICE_I


def _usual_key(raw: RawFrame, nalus: list[bytes], slices: list[bytes], resets: bool) -> UsualKey | None:
    """Of a key frame with these NAL units; None where something else than its only slice comes last (a unit without bytes, too), or
    something is put before it that came earlier."""
    at = raw.body.rfind(b"\0\0\1") + 3
    *lead, slice_ = slices
    if at < 3 or not raw.body.startswith(slice_, at) or slice_ is not nalus[-1] or lead != [nalu for nalu in nalus[:-1] if nalu in lead]:
        return None
    return UsualKey(raw.body[: at + (2 if raw.pt == 98 else 3)], at, lead, resets)


def _codec_of(nalus: list[bytes], told: str) -> str:
    """Which codec parameter sets betray, where they do: an H.265 VPS and SPS begin 40 01, 42 01; an H.264 SPS and PPS x7, x8."""
    kinds = {nalu[:2] for nalu in nalus[:8]}
    if b"\x42\x01" in kinds and (b"\x40\x01" in kinds or b"\x44\x01" in kinds):
        return "h265"
    if told == "h265":
        heads = {nalu[0] for nalu in nalus[:8]}
        if heads & {0x67, 0x47, 0x27} and heads & {0x68, 0x48, 0x28}:
            return "h264"
    return ""
