"""Sound of one stream: from frames of packets to blocks of one codec with a configuration and times.

    HiSilicon header off (tested on every frame) ── the payload type, checked against the content ── the codec's own framing ── times

Nothing in a packet tells sample rate, G.726's rate and bit order or ADPCM's layout: the first blocks wait until those are found out.
Codecs that nobody here can decode are passed on by their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from relay.codec import adpcm, amr, g726, hisi, mp3, pcm
from relay.codec.aac import AacReader, is_adts, parse_adts
from relay.codec.audio import sample_count
from relay.codec.frame import AUDIO, AudioConfig, Frame
from relay.errors import DecodeError
from relay.jt1078.assembly import RawFrame
from relay.jt1078.timeline import Timeline

#: blocks of G.726 looked at before its bit order is taken (half a second of 40 ms); of ADPCM one block of speech is nearly always enough, and
#: silence is waited through for so long
LOOK_FRAMES, LOOK_ADPCM, LOOK_MAX = 12, 4, 50
#: blocks that tell the distance of their stamps, where the order is configured
LOOK_RATE = 3
#: an order that was taken after silence is looked at again as soon as there is something to hear, so many times, after twice as many blocks each time
#: (each look costs some 25 ms)
AGAIN_MAX = 8
#: a block with no more different bytes than this is silence, and tells nothing
LIVELY_BYTES = 8
#: blocks in a row of another size that are another rate
SIZE_CHANGED = 5
#: the first blocks do not wait longer than this
LOOK_S = 2.5
#: bodies in a row that are ADTS frames to the byte before another payload type is not believed
ADTS_BODIES = 2

AAC = frozenset({19, 21, 24, 27})
_G726 = (1, 8)
_PCM_PT = (18, 22, 23)  # table 12 does not say in which order the bytes come, nor at which rate
_LOOKED_AT = frozenset({*_G726, *_PCM_PT, 10, 11, 12, 13, 26})
_PCM_RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000)
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
        self._plain: AudioConfig | None = None  #: blocks need no more than a look for the HiSilicon header
        self._clock = timeline.audio
        self._swap = False  #: linear PCM comes big-endian
        self._size = 0  #: of a block of G.726
        self._odd = 0  #: blocks in a row that have another size
        self._again = 0  #: how many more times the order of G.726's bits will be looked at
        self._skip = 0  #: blocks until then

    def restart(self) -> None:
        """Another connection feeds the stream from now on."""
        self._look.clear()
        self._aac.reset()

    def push(self, raw: RawFrame, now: float) -> list[Frame]:
        """The blocks that are whole with this frame."""
        pt = raw.pt
        config = self._plain
        if config is not None and pt == self._pt:
            body = raw.body
            if body[:1] > b"\1" and not is_adts(body):  # nearly every block of G.711
                count = len(body)
                dts = self._clock(raw.timestamp, now, count / 8)
                return [Frame(AUDIO, dts, dts, True, body, config, count, raw.arrival)]
        if pt != self._pt:
            out = self.finish(now)
            self._pt, self.config, self._adts, self._again = pt, None, 0, 0
            self._plain, self._swap = None, False
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
        elif pt in _PCM_PT:
            body = body[: len(body) & ~1]
        if not body:
            self._count("empty_sound")
            return []
        config = _G711.get(pt)
        if config is not None:
            frame = self._block(config, body, raw.timestamp, raw.arrival, now, len(body))
            self._plain = self.config if not self._adts else None
            return [frame]
        if pt in _LOOKED_AT:
            return self._looked_at(body, raw, now)
        if pt == 17 or pt == 25:
            return self._mp3_blocks(body, raw, now)
        if pt == 15 or pt == 16:
            config = _PCM_STEREO if pt == 15 else _PCM
        elif pt == 28:
            return self._amr_blocks(body, raw, now)
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
            if raw.pt in _G726:
                self._odd = self._odd + 1 if len(body) != self._size else 0
                if self._odd >= SIZE_CHANGED:
                    self._odd, self.config, self._look = 0, None, [(body, raw)]
                    return []
            return [self._block(self.config, pcm.swap(body) if self._swap else body, raw.timestamp, raw.arrival, now)]
        self._look.append((body, raw))
        held = len(self._look)
        late = held >= LOOK_MAX or raw.arrival - self._look[0][1].arrival >= LOOK_S
        if raw.pt not in _G726:
            return self._decide(now) if late or self._spoken() >= LOOK_ADPCM else []
        return self._decide(now) if late or held >= (LOOK_FRAMES if self._g726_order == "auto" else LOOK_RATE) else []

    def _spoken(self) -> int:
        """Blocks that are not all alike inside: silence tells nothing."""
        return sum(len(set(body[4:68])) > 4 for body, _ in self._look)

    def _usual_step(self) -> int:
        """Milliseconds between the blocks looked at, by their stamps, else by their arrival; 0 = not known."""
        raws = [raw for _, raw in self._look]
        count = len(raws) - 1
        if count < 1:
            return 0
        steps = sorted(later.timestamp - earlier.timestamp for earlier, later in pairwise(raws))
        step = steps[count // 2]
        if not 5 <= step <= 200:
            step = round((raws[-1].arrival - raws[0].arrival) * 1000 / count)
        return step if 5 <= step <= 200 else 0

    def _guess(self, step: int) -> g726.Guess:
        sizes = [len(body) for body, _ in self._look]
        self._size = max(set(sizes), key=sizes.count)
        return g726.detect([body for body, _ in self._look if len(body) == self._size], step)

    def _decide(self, now: float) -> list[Frame]:
        step = self._usual_step()
        bodies = [body for body, _ in self._look]
        if self._pt in _G726:
            guess = self._guess(step if self._pt == 8 else len(bodies[0]) // 4)  # G.721 is G.726 at 32 kbit/s
            config = AudioConfig("g726", 8000, 1, bits=guess.bits, layout=guess.layout if self._g726_order == "auto" else self._g726_order)
            self._again = 0 if guess.sure or self._g726_order != "auto" else AGAIN_MAX
            self._skip = 0
        elif self._pt in _PCM_PT:
            self._swap = _is_big_endian(bodies)
            config = replace(_PCM, sample_rate=_pcm_rate(len(bodies[0]), step))
        else:
            config = AudioConfig("adpcm", 16000 if self._pt == 13 else 8000, 1, layout=adpcm.detect(bodies, self._pt))
        waiting, self._look = self._look, []
        return [self._block(config, pcm.swap(body) if self._swap else body, raw.timestamp, raw.arrival, now) for body, raw in waiting]

    def _look_again(self, body: bytes, raw: RawFrame) -> None:
        """The order of G.726's bits was taken without being sure, as after silence: see whether later sound tells."""
        if len(set(body)) <= LIVELY_BYTES or self.config is None:
            return
        if self._skip:
            self._skip -= 1
            return
        self._look.append((body, raw))
        if len(self._look) < LOOK_FRAMES:
            return
        guess = self._guess(self._size // self.config.bits)
        self._look.clear()
        self._again -= 1
        self._skip = LOOK_FRAMES << (AGAIN_MAX - self._again)
        if guess.sure:
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

    def _amr_blocks(self, body: bytes, raw: RawFrame, now: float) -> list[Frame]:
        try:
            frames = amr.split(body)
        except DecodeError:
            self._count("broken_sound")
            return []
        after = amr.FRAME_SAMPLES * 1000 // amr.SAMPLE_RATE
        return [self._block(_AMR, data, raw.timestamp + number * after, raw.arrival, now) for number, data in enumerate(frames)]

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


def _is_big_endian(bodies: list[bytes]) -> bool:
    """The bytes of each sample come high first: read so, the sound can be foreseen better."""
    sound = b"".join(body[: len(body) & ~1][:4000] for body in bodies[-LOOK_ADPCM:])
    return pcm.innovation(pcm.samples(pcm.swap(sound))) < pcm.innovation(pcm.samples(sound))


def _pcm_rate(size: int, step_ms: int) -> int:
    """The sample rate by which a block lasts as long as it takes."""
    if not step_ms:
        return 8000
    rate = size // 2 * 1000 / step_ms
    nearest = min(_PCM_RATES, key=lambda known: abs(known - rate))
    return nearest if abs(nearest - rate) <= 0.1 * nearest else 8000
