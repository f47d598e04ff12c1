"""Sound of one stream: from frames of packets to blocks of one codec with a configuration and times.

    HiSilicon header off (tested on every frame) ── the payload type, checked against the content ── the codec's own framing ── times

Nothing in a packet tells sample rate, G.726's rate and bit order or ADPCM's layout: the first blocks wait until those are found out.
Codecs that nobody here can decode are passed on by their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from relay.codec import adpcm, g726, hisi, mp3, pcm
from relay.codec.aac import AacReader, is_adts, parse_adts
from relay.codec.audio import sample_count
from relay.codec.frame import AUDIO, AudioConfig, Frame
from relay.errors import DecodeError
from relay.jt1078.assembly import RawFrame
from relay.jt1078.timeline import Timeline

#: blocks of G.726 looked at before its bit order is trusted, and where looking ends; of ADPCM one block of speech is nearly always enough
LOOK_FRAMES, LOOK_MAX, LOOK_ADPCM = 12, 50, 4
#: blocks that tell the distance of their stamps, where the order is configured
LOOK_RATE = 3
#: an order that was taken after silence is looked at again every so many blocks, so many times (each look costs some 25 ms)
AGAIN_FRAMES, AGAIN_MAX = 50, 30
#: the first blocks do not wait longer than this
LOOK_S = 2.5
#: bodies in a row that are ADTS frames to the byte before another payload type is not believed
ADTS_BODIES = 2

AAC = frozenset({19, 21, 24, 27})
_G711 = {6: AudioConfig("g711a", 8000, 1), 7: AudioConfig("g711u", 8000, 1)}
_PCM = AudioConfig("pcm", 8000, 1)
_PCM_STEREO = AudioConfig("pcm", 8000, 2)
_AMR = AudioConfig("amr", 8000, 1)
Count = Callable[[str], None]


class Sounds:
    """One stream's sound."""

    def __init__(self, timeline: Timeline, count: Count, g726_order: str = "auto") -> None:
        self.config: AudioConfig | None = None
        self._timeline = timeline
        self._count = count
        self._g726_order = g726_order
        self._pt = -1
        self._look: list[tuple[bytes, RawFrame]] = []
        self._aac = AacReader()
        self._adts = 0  #: bodies in a row that are ADTS although another payload type is told
        self._unknown: AudioConfig | None = None
        self._again = 0  #: how many more times the order of G.726's bits will be looked at

    def restart(self) -> None:
        """Another connection feeds the stream from now on."""
        self._look.clear()
        self._aac.reset()

    def push(self, raw: RawFrame, now: float) -> list[Frame]:
        """The blocks that are whole with this frame."""
        pt = raw.pt
        if pt != self._pt:
            out = self.finish(now)
            self._pt, self.config, self._adts, self._again = pt, None, 0, 0
            self._look.clear()
            self._aac = AacReader()
            return out + self.push(raw, now) if out else self.push(raw, now)
        if raw.loss is not None:
            self._aac.reset()
        body = raw.body
        if pt in AAC or self._is_adts(body):
            return self._aac_blocks(raw, now)
        body = hisi.strip(body)
        if pt == 15 or pt == 16:  # table 12: S16BE stereo, mono
            body = pcm.swap(body[: len(body) & ~1])
        if not body:
            self._count("empty_sound")
            return []
        config = _G711.get(pt)
        if config is not None:
            return [self._block(config, body, raw.timestamp, raw.arrival, now, len(body))]
        if pt == 8 or pt == 1 or pt == 26 or 10 <= pt <= 13:
            return self._looked_at(body, raw, now)
        if pt == 17 or pt == 25:
            return self._mp3_blocks(body, raw, now)
        if pt in (18, 22, 23):
            config = _PCM
        elif pt == 15 or pt == 16:
            config = _PCM_STEREO if pt == 15 else _PCM
        elif pt == 28:
            config = _AMR
        else:
            if self._unknown is None or self._unknown.codec != f"pt{pt}":
                self._unknown = AudioConfig(f"pt{pt}", 8000, 1)
                self._count(f"unknown_sound_pt{pt}")
            config = self._unknown
        return [self._block(config, body, raw.timestamp, raw.arrival, now)]

    def finish(self, now: float) -> list[Frame]:
        """No more will come: what waited is passed on by the best guess."""
        return self._decide(now) if self._look and self.config is None else []

    def _block(self, config: AudioConfig, body: bytes, stamp: int, arrival: float, now: float, samples: int = -1) -> Frame:
        if self.config is None or config != self.config:
            self.config = config
        config = self.config
        if samples < 0:
            samples = sample_count(config, body)
        dts = self._timeline.audio(stamp, now, samples * 1000 / config.sample_rate)
        return Frame(AUDIO, dts, dts, True, body, config, samples, arrival)

    # -- found out by looking -----------------------------------------------------------------------------------------------------------

    def _looked_at(self, body: bytes, raw: RawFrame, now: float) -> list[Frame]:
        if self.config is not None:
            if self._again:
                self._look_again(body, raw)
            return [self._block(self.config, body, raw.timestamp, raw.arrival, now)]
        self._look.append((body, raw))
        held = len(self._look)
        late = held >= LOOK_MAX or raw.arrival - self._look[0][1].arrival >= LOOK_S
        if raw.pt >= 10:
            return self._decide(now) if late or self._spoken() >= LOOK_ADPCM else []
        if late or self._g726_order != "auto":
            return self._decide(now) if late or held >= LOOK_RATE else []
        return self._decide(now) if held >= LOOK_FRAMES and self._guess().sure else []

    def _spoken(self) -> int:
        """Blocks that are not all alike inside: silence tells nothing."""
        return sum(len(set(body[4:68])) > 4 for body, _ in self._look)

    def _guess(self) -> g726.Guess:
        first, last = self._look[0][1].timestamp, self._look[-1][1].timestamp
        step = (last - first) // max(len(self._look) - 1, 1)
        return g726.detect([body for body, _ in self._look], step if 5 <= step <= 200 else 0)

    def _decide(self, now: float) -> list[Frame]:
        if self._pt == 8 or self._pt == 1:
            guess = self._guess()
            bits = 4 if self._pt == 1 else guess.bits  # G.721 is G.726 at 32 kbit/s
            config = AudioConfig("g726", 8000, 1, bits=bits, layout=guess.layout if self._g726_order == "auto" else self._g726_order)
            self._again = 0 if guess.sure or self._g726_order != "auto" else AGAIN_MAX
        else:
            config = AudioConfig("adpcm", 8000, 1, layout=adpcm.detect([body for body, _ in self._look], self._pt))
        waiting, self._look = self._look, []
        return [self._block(config, body, raw.timestamp, raw.arrival, now) for body, raw in waiting]

    def _look_again(self, body: bytes, raw: RawFrame) -> None:
        """The order of G.726's bits was taken without being sure, as after silence: see whether later sound tells."""
        self._look.append((body, raw))
        if len(self._look) < AGAIN_FRAMES:
            return
        self._look = self._look[-LOOK_FRAMES:]
        guess = self._guess()
        self._look.clear()
        self._again -= 1
        if guess.sure and self.config is not None:
            self._again = 0
            if guess.layout != self.config.layout:
                self._count("sound_order_corrected")
                self.config = replace(self.config, layout=guess.layout)

    # -- codecs with frames of their own ------------------------------------------------------------------------------------------------

    def _is_adts(self, body: bytes) -> bool:
        """ADTS under another payload type: the length in its header fits the body, time after time."""
        if self._adts < 0 or not is_adts(body):
            self._adts = min(self._adts, 0)
            return False
        if self._adts < ADTS_BODIES:
            try:
                fits = parse_adts(body).frame_len == len(body)
            except DecodeError:
                fits = False
            if not fits:
                self._adts = 0
                return False
            self._adts += 1
            if self._adts == ADTS_BODIES:
                self._count("sound_is_not_as_told")
        return self._adts >= ADTS_BODIES

    def _aac_blocks(self, raw: RawFrame, now: float) -> list[Frame]:
        try:
            blocks = self._aac.feed(raw.body)
        except DecodeError:
            self._count("broken_sound")
            return []
        out = []
        after = 0.0
        for config, data in blocks:  # one stamp for all of them: each begins where the one before ends
            if not data:
                self._count("empty_sound")
                continue
            frame = self._block(config, data, raw.timestamp + round(after), raw.arrival, now)
            after += frame.samples * 1000 / config.sample_rate
            out.append(frame)
        return out

    def _mp3_blocks(self, body: bytes, raw: RawFrame, now: float) -> list[Frame]:
        try:
            blocks = mp3.split(body)
        except DecodeError:
            self._count("broken_sound")
            return []
        out = []
        after = 0.0
        for config, data, samples in blocks:
            out.append(self._block(config, data, raw.timestamp + round(after), raw.arrival, now, samples))
            after += samples * 1000 / config.sample_rate
        return out
