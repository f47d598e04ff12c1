"""Pictures of one stream: from the bytes between the first and the last packet of a frame to access units with a configuration and times.

    NAL units ── which codec is it really ── parameter sets kept, a change is a new configuration ── delimiters and filler removed
        ── slices of one picture gathered ── key frame by NAL type ── loss policy ── times

The kind the packet tells (I, P, B) is not believed: terminals mark I frames as P, or all as I (JT/T 1078-2016 table 19, 数据类型).

One frame of packets is one access unit nearly always, and leaves at once. seen: terminals that send each NAL unit as a frame of its own; parameter sets
that come alone with the picture's time stamp give them away. Their pictures wait for the next one, until the number of their pieces is known.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from relay.codec import h264, h265
from relay.codec.frame import VIDEO, Frame, VideoConfig
from relay.codec.nalu import from_avcc, split_annexb, to_avcc
from relay.errors import DecodeError
from relay.jt1078.assembly import Loss, RawFrame
from relay.jt1078.timeline import Timeline

#: an encoder with open GOPs may never send an IDR picture: after so long an I picture will do, its parameter sets being known
NO_IDR_S = 4.0
#: parameter sets of one kind remembered; H.264 permits 32 sequence sets, terminals have one
SETS_MAX = 8
#: NAL units without a picture (SEI) kept for the next one
AHEAD_MAX = 16
#: a picture that waits for more of its slices waits no longer than this
HOLD_S = 0.25
#: pieces of one picture; a terminal with slices of its own frames has some
PIECES_MAX = 256
#: a step of the stamps that is longer than usual by this factor has room for a lost picture
_ROOM = 1.6

_LENGTH = struct.Struct(">I").pack
_new = object.__new__
Count = Callable[[str], None]


class Held:
    """A picture that may not be whole yet."""

    __slots__ = ("arrival", "count", "key", "nalus", "pieces", "since", "stamp")

    def __init__(self, nalus: list[bytes], key: bool, count: int | None, raw: RawFrame, now: float) -> None:
        self.nalus = nalus
        self.key = key
        self.count = count  #: picture order count
        self.stamp = raw.timestamp
        self.arrival = raw.arrival
        self.since = now
        self.pieces = 1


class Pictures:
    """One stream's pictures."""

    def __init__(self, timeline: Timeline, count: Count, keep: bool) -> None:
        self.need_key = True  #: the next picture passed on will be a key frame
        self.config: VideoConfig | None = None
        self._timeline = timeline
        self._count = count
        self._keep = keep  #: loss policy: pass on whatever is whole
        self._codec = ""
        self._sets: dict[int, dict[int, bytes]] = {}
        self._replaced: set[bytes] = set()  #: picture parameter sets that were there before their sequence set changed
        self._stale = True  #: parameter sets have changed since ``config`` was made
        self._sets_stamp = -1  #: time stamp of parameter sets that came alone
        self._ahead: list[bytes] = []
        self._waiting_since = -1.0
        self._had_idr = False
        self._last_stamp = -1
        self._step = 0.0  #: usual distance of stamps
        self._held: Held | None = None
        self._hold = False  #: pictures come in pieces, or may
        self._pieces = 0  #: of each picture, when it is known
        self._seen_pieces = 0  #: of the last one
        self._alike = 0
        self._told_wrong = ""  #: what the payload type says, where parameter sets have contradicted it
        self._counts = False  #: picture order counts tell something with this configuration
        self._order: h264.PocCounter | h265.PocCounter | None = None
        self._depth = 0
        self._plain = 0  #: PT whose ordinary frames may take the short way

    def restart(self, now: float) -> None:
        """Another connection feeds the stream from now on."""
        self.need_key = True
        self._plain = 0
        self._waiting_since = now
        self._held = None
        self._hold = False
        self._pieces = 0
        self._last_stamp = -1
        self._order = None
        self._had_idr = False
        self._ahead.clear()

    # -- one frame of packets -----------------------------------------------------------------------------------------------------------

    def push(self, raw: RawFrame, now: float) -> list[Frame]:
        """The access units that are whole with this frame."""
        body = raw.body
        pt = raw.pt
        if (
            pt == self._plain
            and raw.loss is None
            and body.find(b"\0\0\1", 4) < 0
            and len(body) > 7
            and body[:4] == b"\0\0\0\1"
            and (body[4] & 0x1F == 1 and body[5] >= 0x80 if pt == 98 else body[4] < 0x14 and body[6] >= 0x80)
        ):
            # Nearly every frame: one slice, a whole picture, not a key frame. Anything else takes the long way.
            stamp = raw.timestamp
            step = stamp - self._last_stamp
            self._last_stamp = stamp
            if step != self._step:
                self._step += (step - self._step) * 0.125
            nalu = body[4:] if body[-1] else body[4:].rstrip(b"\0")
            frame = _new(Frame)
            frame.kind = VIDEO
            frame.dts, frame.pts = self._timeline.video(stamp, now)
            frame.key = False
            frame.data = _LENGTH(len(nalu)) + nalu
            frame.config = self.config  # type: ignore[assignment]
            frame.samples = 0
            frame.source_time = raw.arrival
            return [frame]
        return self._push(raw, now)

    def _push(self, raw: RawFrame, now: float) -> list[Frame]:
        self._plain = 0
        out: list[Frame] = []
        nalus = self._units(raw)
        if raw.loss is not None:
            if self._held is not None and raw.loss.frames:
                self._held = None
                self._count("incomplete_pictures")
            self._lost(raw, raw.loss)
        if not nalus:
            return out
        slices, changed, key, begins = self._sort(nalus)
        held = self._held
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
                self._late_slices(raw)
            return out
        if self._sets_stamp == raw.timestamp and not self._alike:
            self._hold = True
        self._sets_stamp = -1
        picture = self._begin(slices, changed, key, raw, now)
        if picture is None:
            return out
        if self._hold and self._pieces != 1:
            self._held = picture
            return out
        self._emit(picture, now, out)
        wants_counts = self._counts and self._timeline.wants_counts
        if not self._hold and not wants_counts and not self._stale and raw.pt == (98 if self._codec == "h264" else 99):
            self._plain = raw.pt
        return out

    def tick(self, now: float) -> list[Frame]:
        """Let a held picture go that has waited long enough."""
        out: list[Frame] = []
        if self._held is not None and now - self._held.since > HOLD_S:
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

    @property
    def holding(self) -> bool:
        """A picture waits for more of its slices."""
        return self._held is not None

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
        told = "h264" if raw.pt == 98 else "h265"
        found = _codec_of(nalus, self._codec or told)
        if found:
            if found != told and self._told_wrong != told:
                self._count("codec_is_not_as_told")
            self._told_wrong = told if found != told else ""
        codec = found or (self._codec if told == self._told_wrong else told)
        if codec != self._codec:
            self._codec, self._sets, self._stale, self.need_key, self._order, self._held = codec, {}, True, True, None, None
            self._replaced.clear()
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
                if self._remember(kind, nalu):
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

    def _remember(self, kind: int, nalu: bytes) -> bool:
        """Keep a parameter set; True if it is new or changed."""
        module = h264 if self._codec == "h264" else h265
        try:
            number = module.parameter_set_id(nalu)
        except DecodeError:
            self._count("broken_parameter_set")
            return False
        known = self._sets.setdefault(kind, {})
        self._replaced.discard(nalu)
        if known.get(number) == nalu:
            return False
        if kind in (7, 33):  # what referred to the old one goes as soon as there is something else
            self._replaced.update(self._sets.get(kind + 1, {}).values())
        if number not in known and len(known) >= SETS_MAX:
            known.pop(next(iter(known)))
        known[number] = nalu
        self._stale = True
        return True

    def _configure(self) -> bool:
        kinds = (7, 8) if self._codec == "h264" else (32, 33, 34)
        pictures = self._sets.get(kinds[-1], {})
        if any(nalu not in self._replaced for nalu in pictures.values()):
            for number, nalu in list(pictures.items()):
                if nalu in self._replaced:
                    del pictures[number]
        self._replaced.clear()
        sets = [list(self._sets.get(kind, {}).values()) for kind in kinds]
        if not all(sets):
            return False
        try:
            if self._codec == "h264":
                config = h264.video_config(*sets)
                sps = h264.parse_sps(sets[0][0])
                self._order = h264.PocCounter(sps) if sps.may_reorder and sps.pic_order_cnt_type == 0 else None
                self._counts = sps.may_reorder and sps.pic_order_cnt_type == 0
            else:
                config = h265.video_config(*sets)
                self._order = h265.PocCounter(h265.parse_sps(sets[1][0]), h265.parse_pps(sets[2][0]))
                self._counts = True
        except DecodeError:
            self._count("broken_parameter_set")
            return False
        self._stale = False
        self._depth = config.reorder
        if config != self.config:
            self.config = config
        return True

    # -- pictures -----------------------------------------------------------------------------------------------------------------------

    def _begin(self, slices: list[bytes], changed: bool, key: bool, raw: RawFrame, now: float) -> Held | None:
        """A picture begins: may it go, and with which configuration?"""
        if key:
            self._had_idr = True
        elif self._intra_will_do(slices, now):
            key = True
        if self.need_key and not key:
            self._count("before_key_frame")
            return None
        if key and self._stale and not self._configure():
            self._count("no_parameter_sets")
            return None
        if self.config is None or self.config.codec != self._codec:
            self._count("no_parameter_sets")
            return None
        self.need_key = False
        self._waiting_since = -1.0
        return Held(slices, key, self._order_count(slices, key), raw, now)

    def _order_count(self, slices: list[bytes], key: bool) -> int | None:
        if not self._counts or not self._timeline.wants_counts:
            self._order = None
            return None
        if self._order is None and (not key or not self._configure()):
            return None
        hevc = self._codec == "h265"
        first = next((nalu for nalu in slices if (nalu[0] >> 1 & 0x3F < 32 if hevc else 1 <= nalu[0] & 0x1F <= 5)), b"")
        try:
            return self._order.next(first) if self._order is not None and first else None
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

    def _late_slices(self, raw: RawFrame) -> None:
        """Slices of a picture that is gone, or never began."""
        if raw.timestamp == self._last_stamp and not self.need_key:
            self._hold, self._pieces, self._alike = True, 0, 0  # from now on pictures wait for their slices
        self._count("slices_without_beginning")
        if not self._keep:
            self.need_key = True

    def _flush(self, out: list[Frame], now: float) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        self._alike = self._alike + 1 if held.pieces == self._seen_pieces else 0
        self._seen_pieces = held.pieces
        if self._alike >= 3:
            self._pieces = held.pieces
            if held.pieces == 1 and self._alike >= 8:
                self._hold = False
        else:
            self._pieces = 0
        self._emit(held, now, out)

    def _emit(self, picture: Held, now: float, out: list[Frame]) -> None:
        config = self.config
        if config is None:
            return
        stamp = picture.stamp
        if self._last_stamp >= 0 and 0 < stamp - self._last_stamp < 2000:
            self._step += (stamp - self._last_stamp - self._step) * (0.125 if self._step else 1.0)
        self._last_stamp = stamp
        unit = 1 if self._codec == "h265" else 2
        idr = picture.key and (picture.count == 0 or picture.count is None)
        dts, pts = self._timeline.video(stamp, now, picture.count, idr, self._depth, unit)
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
                ours = not (as_told or 0 < step < _ROOM * self._step)
        if ours:
            self._count("losses")
            if not self._keep and not self.need_key:
                self.need_key = True
                self._waiting_since = -1.0

    def _intra_will_do(self, slices: list[bytes], now: float) -> bool:
        """No IDR picture comes: an I picture, or a recovery point, is the best there is to begin with."""
        if self._had_idr and not self.need_key:
            return False
        if self._waiting_since < 0 and self.need_key:
            self._waiting_since = now
            return False
        if self.need_key and now - self._waiting_since < NO_IDR_S:
            return False
        try:
            if self._codec == "h264":
                coded = [nalu for nalu in slices if 1 <= nalu[0] & 0x1F <= 5]
                intra = 7 in self._sets and bool(coded) and all(h264.slice_type(nalu) % 5 in (2, 4) for nalu in coded)
                intra = intra or any(nalu[0] & 0x1F == 6 and h264.has_recovery_point(nalu) for nalu in slices)
            else:
                sets = [list(self._sets.get(kind, {}).values()) for kind in (33, 34)]
                first = next((nalu for nalu in slices if nalu[0] >> 1 & 0x3F < 32), b"")
                intra = bool(first) and all(sets) and h265.slice_header(first, h265.parse_sps(sets[0][0]), h265.parse_pps(sets[1][0])).slice_type == 2
        except DecodeError:
            return False
        if intra:
            self._count("began_without_idr")
        return intra


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
