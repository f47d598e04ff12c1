"""From whole frames of packets to access units and blocks of sound on an output clock: one (SIM, channel).

    RawFrame ── what are the bytes: payload type, checked against the content
       ├─ picture: NAL units ─ parameter sets cached, a change is a new configuration ─ key frame by NAL type ─ loss policy ─ timeline
       └─ sound: HiSilicon header off ─ codec's own framing ─ configuration found out ─ timeline

The frame kind the packet tells (I, P, B) is not believed: terminals mark I as P, or all as I.

Loss policy "keyframe": after a frame of the picture is lost nothing is passed on until the next key frame, because what refers to it would smear;
"keep" passes on whatever is whole. Either way a stream begins at a key frame.
"""

from __future__ import annotations

import struct

from relay.codec import adpcm, g726, h264, h265, hisi, mp3
from relay.codec.aac import AacReader
from relay.codec.audio import sample_count
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.codec.nalu import split_annexb, to_avcc
from relay.errors import DecodeError
from relay.jt1078.assembly import RawFrame
from relay.jt1078.packet import PAYLOAD_TYPES
from relay.jt1078.timeline import EASY_STEP_MS, Timeline

#: an open-GOP encoder may never send an IDR: after so long an I picture with a recovery point, or with parameter sets, will do
NO_IDR_S = 4.0
#: blocks of sound looked at before the order of G.726's bits and ADPCM's layout are trusted, and where looking ends
LOOK_FRAMES, LOOK_MAX = 12, 50
#: parameter sets of one kind remembered; H.264 allows 32 sequence sets, terminals have one
SETS_MAX = 8

_LENGTH = struct.Struct(">I").pack
_new = object.__new__
#: start code and first byte of a slice that is no IDR, with each nal_ref_idc
_DELTA_HEADS = frozenset(b"\x00\x00\x00\x01" + bytes((reference << 5 | 1,)) for reference in range(4))
_G711 = {6: AudioConfig("g711a", 8000, 1), 7: AudioConfig("g711u", 8000, 1)}
_PCM = AudioConfig("pcm", 8000, 1)


class Ingest:
    """One stream's input. ``push`` gives the frames that became whole, in order; ``counts`` says what did not."""

    def __init__(self, sim: str, channel: int, loss_policy: str = "keyframe", g726_order: str = "auto") -> None:
        self.sim = sim
        self.channel = channel
        self.timeline = Timeline()
        self.counts: dict[str, int] = {}
        self._keep = loss_policy == "keep"
        self._g726_order = g726_order
        # picture
        self._codec = ""
        self._sets: dict[int, dict[int, bytes]] = {}
        self._stale = True  #: parameter sets have changed since the configuration was made
        self._video: VideoConfig | None = None
        self._need_key = True
        self._waiting_since = -1.0
        self._last_stamp = -1
        self._base: int | None = None  #: ``Timeline.easy_base``, with H.264 whose key frame has been seen and whose parameter sets are known
        self._last_step = 0  #: of pictures timed without the timeline, which is told before it is asked again
        # sound
        self._pt = -1
        self._audio: AudioConfig | None = None
        self._look: list[tuple[bytes, RawFrame]] = []
        self._aac = AacReader()

    def restart(self, now: float) -> None:
        """Another connection feeds the stream from now on: a key frame first, and the clock goes on."""
        self._need_key = True
        self._base = None
        self._waiting_since = now
        self._look.clear()
        self._aac.reset()
        self.timeline.restart()

    def push(self, raw: RawFrame, now: float) -> list[Frame]:
        """The frames that this one completes; mostly one."""
        pt = raw.pt
        base = self._base
        if base is not None and pt == 98 and raw.loss is None:
            # Nearly every frame: one slice that is no key frame, behind a start code of four bytes, an ordinary step after the last.
            body = raw.body
            stamp = raw.timestamp
            step = stamp - self._last_stamp
            if 0 < step <= EASY_STEP_MS and body[:5] in _DELTA_HEADS and body[-1] and body.find(b"\x00\x00\x01", 5) < 0:
                self._last_stamp = stamp
                self._last_step = step
                # Its fields are set here, not by __init__: half of the cost of making it.
                frame = _new(Frame)
                frame.kind = VIDEO
                frame.dts = frame.pts = stamp - base
                frame.key = False
                frame.data = _LENGTH(len(body) - 4) + body[4:]
                frame.config = self._video  # type: ignore[assignment]
                frame.samples = 0
                frame.source_time = raw.arrival
                return [frame]
        if self._last_step:
            self.timeline.caught_up(self._last_stamp, self._last_step, now)
            self._last_step = 0
        if pt in (98, 99):
            return self._picture(raw, "h264" if pt == 98 else "h265", now)
        if 1 <= pt <= 28:
            return self._sound(raw, now)
        self._count("passthrough" if raw.data_type == 4 or pt == 91 else f"unsupported_pt{pt}")
        return []

    def _count(self, name: str, amount: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + amount

    # picture ------------------------------------------------------------------

    def _picture(self, raw: RawFrame, codec: str, now: float) -> list[Frame]:
        self._base = None
        if raw.loss is not None:
            self._lost(raw)
        nalus = split_annexb(raw.body)
        if not nalus:
            self._count("no_nal_unit")
            return []
        if codec != self._codec:
            self._codec, self._sets, self._stale, self._need_key = codec, {}, True, True
        slices, key = self._h264(nalus) if codec == "h264" else self._h265(nalus)
        if slices is None:
            self._count("parameter_sets_alone")
            return []
        if self._need_key:
            if not key and not self._may_begin(slices, now):
                self._count("before_key_frame")
                return []
            key = True
        if key and self._stale and not self._configure():
            self._count("no_parameter_sets")
            return []
        config = self._video
        if config is None:
            self._count("no_parameter_sets")
            return []
        self._need_key = False
        self._waiting_since = -1.0
        self._last_stamp = raw.timestamp
        dts, pts = self.timeline.video(raw.timestamp, now, config.reorder)
        if codec == "h264" and not self._stale:
            self._base = self.timeline.easy_base()
        return [Frame(VIDEO, dts, pts, key, to_avcc(slices), config, 0, raw.arrival)]

    def _lost(self, raw: RawFrame) -> None:
        loss = raw.loss
        if loss is None:
            return
        ours = loss.packets > 0 or loss.frames > 0
        if not ours and loss.maybe and loss.interval > 0 and self._last_stamp >= 0:
            # the count is shared with other tracks: it was ours if the picture before this one is farther away than the terminal says
            ours = raw.timestamp - self._last_stamp > loss.interval + 1
        if ours:
            self._count("losses")
            if not self._keep:
                self._need_key = True

    def _h264(self, nalus: list[bytes]) -> tuple[list[bytes] | None, bool]:
        if len(nalus) == 1 and nalus[0][0] & 0x1F == 1:
            return nalus, False
        out: list[bytes] = []
        key = coded = False
        for nalu in nalus:
            kind = nalu[0] & 0x1F
            if kind == 7 or kind == 8:
                self._remember(kind, nalu, h264.parameter_set_id)
            elif kind == 9 or kind == 12:
                continue
            else:
                if 1 <= kind <= 5:
                    coded = True
                    key = key or kind == 5
                out.append(nalu)
        return (out if coded else None), key

    def _h265(self, nalus: list[bytes]) -> tuple[list[bytes] | None, bool]:
        out: list[bytes] = []
        key = coded = False
        for nalu in nalus:
            kind = nalu[0] >> 1 & 0x3F
            if 32 <= kind <= 34:
                self._remember(kind, nalu, h265.parameter_set_id)
            elif kind == 35 or kind == 38:
                continue
            else:
                if kind < 32:
                    coded = True
                    key = key or 16 <= kind <= 21
                out.append(nalu)
        return (out if coded else None), key

    def _remember(self, kind: int, nalu: bytes, id_of: object) -> None:
        try:
            number = id_of(nalu)  # type: ignore[operator]
        except DecodeError:
            self._count("broken_parameter_set")
            return
        known = self._sets.setdefault(kind, {})
        if known.get(number) != nalu:
            if number not in known and len(known) >= SETS_MAX:
                known.pop(next(iter(known)))
            known[number] = nalu
            self._stale = True

    def _configure(self) -> bool:
        kinds = (7, 8) if self._codec == "h264" else (32, 33, 34)
        sets = [list(self._sets.get(kind, {}).values()) for kind in kinds]
        if not all(sets):
            return False
        try:
            config = h264.video_config(*sets) if self._codec == "h264" else h265.video_config(*sets)
        except DecodeError:
            self._count("broken_parameter_set")
            return False
        self._stale = False
        if config != self._video:
            self._video = config
        return True

    def _may_begin(self, slices: list[bytes], now: float) -> bool:
        """No IDR comes: an I picture that can be decoded by itself is the best there is."""
        if self._waiting_since < 0:
            self._waiting_since = now
            return False
        if self._codec != "h264" or now - self._waiting_since < NO_IDR_S or self._sets.get(7) is None:
            return False
        coded = [nalu for nalu in slices if nalu[0] & 0x1F == 1]
        try:
            intra = bool(coded) and all(h264.slice_type(nalu) % 5 in (2, 4) for nalu in coded)
        except DecodeError:
            return False
        if intra:
            self._count("began_without_idr")
        return intra

    # sound --------------------------------------------------------------------

    def _sound(self, raw: RawFrame, now: float) -> list[Frame]:
        pt = raw.pt
        if pt != self._pt:
            self._pt, self._audio = pt, None
            self._look.clear()
            self._aac = AacReader()
        if pt in (19, 21, 24, 27):
            return self._aac_sound(raw, now)
        body = hisi.strip(raw.body)
        if not body:
            self._count("empty_sound")
            return []
        if pt in _G711:
            return [self._block(_G711[pt], body, raw, now)]
        if pt == 8 or pt == 26 or 10 <= pt <= 13:
            return self._looked_at(body, raw, now)
        if pt in (17, 25):
            return self._mp3(body, raw, now)
        if pt in (18, 22, 23):
            return [self._block(_PCM, body, raw, now)]
        return [self._block(AudioConfig("amr" if pt == 28 else f"pt{pt}", 8000, 1), body, raw, now)]

    def _block(self, config: AudioConfig, body: bytes, raw: RawFrame, now: float, samples: int = -1) -> Frame:
        if self._audio is None or config != self._audio:
            self._audio = config
        config = self._audio
        count = sample_count(config, body) if samples < 0 else samples
        dts = self.timeline.audio(raw.timestamp, now, count * 1000 / config.sample_rate)
        return Frame(AUDIO, dts, dts, True, body, config, count, raw.arrival)

    def _looked_at(self, body: bytes, raw: RawFrame, now: float) -> list[Frame]:
        """G.726 and ADPCM say neither rate nor order: the first blocks wait until they are told apart."""
        if self._audio is not None:
            return [self._block(self._audio, body, raw, now)]
        self._look.append((body, raw))
        bodies = [one for one, _ in self._look]
        if raw.pt == 8:
            first, last = self._look[0][1].timestamp, raw.timestamp
            step = (last - first) // max(len(self._look) - 1, 1)
            if len(self._look) < LOOK_FRAMES:
                return []
            guess = g726.detect(bodies, step if 5 <= step <= 200 else 0)
            if not guess.sure and len(self._look) < LOOK_MAX and self._g726_order == "auto":
                return []
            layout = guess.layout if self._g726_order == "auto" else self._g726_order
            config = AudioConfig("g726", 8000, 1, bits=guess.bits, layout=layout)
        else:
            if len(self._look) < 4:
                return []
            config = AudioConfig("adpcm", 8000, 1, layout=adpcm.detect(bodies, raw.pt))
        waiting, self._look = self._look, []
        return [self._block(config, one, frame, now) for one, frame in waiting]

    def _aac_sound(self, raw: RawFrame, now: float) -> list[Frame]:
        try:
            blocks = self._aac.feed(raw.body)
        except DecodeError:
            self._count("broken_sound")
            return []
        return [self._block(config, data, raw, now) for config, data in blocks]

    def _mp3(self, body: bytes, raw: RawFrame, now: float) -> list[Frame]:
        try:
            blocks = mp3.split(body)
        except DecodeError:
            self._count("broken_sound")
            return []
        return [self._block(config, data, raw, now, samples) for config, data, samples in blocks]

    @property
    def has_picture(self) -> bool:
        """Pictures come, whether or not one could be begun with: the stream is not one of sound alone."""
        return bool(self._codec)

    @property
    def waits_for_key_frame(self) -> bool:
        """The next picture passed on will be a key frame."""
        return self._need_key


def describe_payload_type(pt: int) -> str:
    """The name of 音视频编码类型 ``pt``."""
    return PAYLOAD_TYPES.get(pt, f"pt{pt}")
