"""Sound in both directions of a call: what a terminal speaks, the operator's microphone in its codec and at its pace, its sound as PCM.

    page ── PCM 16 bit, 8 kHz, mono ──→ Limiter ──→ Speaker (one for all terminals of a call that speak the same) ── blocks ──→ packets
    page ←── PCM ── ducked while the operator speaks ←── Uplink ←── RawFrames of the terminal

**Delay.** A Speaker begins when it has one block and ``CUSHION_MS`` (pages send in bursts), sends by the clock, and never lets the cushion grow: beyond
``MOST_MS`` the oldest sound goes, and what lay idle in it for a whole second goes too. So page → terminal is at most a block, the cushion and the network.

**Levels.** The operator's sound is limited (peaks pulled down to ``CEILING``, released slowly). While the operator speaks, and ``DUCK_S`` after, what
the terminal sends is 18 dB softer: loudspeaker and microphone of a cabin stand side by side and terminals have no echo canceller.

Nothing here reads a clock: times come in, in seconds.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from relay.codec import aac, adpcm, g711, g726, hisi, pcm
from relay.codec.audio import PcmDecoder, decoder
from relay.codec.frame import AudioConfig
from relay.errors import DecodeError, RelayError
from relay.hub.merge import Clock, DelayedCall
from relay.hub.pipeline import AacSound, av_decoder, have_av
from relay.hub.sound import Sounds
from relay.jt1078.assembly import RawFrame
from relay.jt1078.timeline import Timeline

RATE = 8000  #: Hz, of the PCM that pages send and get
CUSHION_MS = 40  #: sound held back against bursts: two messages of a page
MOST_MS = 160  #: more than that is never held
CREEP_S = 1.0  #: sound that was not needed for so long is dropped
LATE_S = 0.5  #: a timer that is so late begins anew instead of catching up in a burst
DUCK_S = 0.3  #: how long after the operator's last word the terminal stays soft
DUCK_SHIFT = 3  #: 18 dB
SPEECH = 300  #: peak of 16 bit from which on the operator is taken to speak: -41 dBFS, above a headset's noise
CEILING = 24000  #: -2.7 dBFS
_UNITY = 256  #: gain of the limiter, in 1/256
_RELEASE = 4  #: per chunk of some 20 ms: back to unity in about a second
UPLINK_MOST_MS = 200  #: of one burst of the terminal's sound (what was held while its codec was found out); the newest is kept

G711A, G711U, G726, ADPCM = 6, 7, 8, 26
AAC_PTS = frozenset({19, 21, 24})
_BITS_OF_BLOCK = {80: 2, 120: 3, 160: 4, 200: 5}  #: G.726 of 40 ms


class VoiceError(RelayError):
    """A codec that cannot be spoken here."""


@dataclass(frozen=True, slots=True)
class Voice:
    """What a terminal plays: codec, block and wrapping."""

    pt: int  #: payload type of JT/T 1078
    samples: int = 320  #: of a block, at ``rate``
    hisi: bool = False  #: HiSilicon's header before each block
    bits: int = 0  #: G.726: bits a sample
    layout: str = ""  #: G.726: le, be; ADPCM: hisi, ima-wav, raw-dvi4, rtp-dvi4
    rate: int = RATE  #: Hz; other than 8000 for AAC only

    @property
    def block_ms(self) -> float:
        """How long a block lasts."""
        return self.samples * 1000 / self.rate

    @property
    def codec(self) -> str:
        """Its name."""
        names = {G711A: "g711a", G711U: "g711u", G726: "g726", 1: "g726", ADPCM: "adpcm", 16: "s16be"}
        return names.get(self.pt, "aac" if self.pt in AAC_PTS else "dvi4" if 10 <= self.pt <= 12 else "pcm" if self.pt in (18, 22, 23) else f"pt{self.pt}")

    def as_dict(self) -> dict[str, Any]:
        """As the quirk ``talk.voice`` keeps it."""
        kept: dict[str, Any] = {"pt": self.pt, "samples": self.samples, "hisi": self.hisi}
        if self.bits:
            kept["bits"] = self.bits
        if self.layout:
            kept["layout"] = self.layout
        if self.rate != RATE:
            kept["rate"] = self.rate
        return kept

    @classmethod
    def of_dict(cls, kept: Mapping[str, Any]) -> Voice:
        """The other way."""
        return completed(cls(**kept))


#: what most terminals speak, when nothing is known
USUAL = Voice(G711A)


def completed(voice: Voice) -> Voice:
    """What is left open filled with what is usual."""
    if voice.pt in (G726, 1):
        voice = replace(voice, bits=voice.bits or 4, layout=voice.layout or "le")
    elif voice.pt == ADPCM:
        voice = replace(voice, layout=voice.layout or "hisi")
    elif 10 <= voice.pt <= 12:
        voice = replace(voice, layout=voice.layout or "rtp-dvi4")
    elif voice.pt in AAC_PTS:
        voice = replace(voice, samples=aac.FRAME_SAMPLES, hisi=False)
    if not 40 <= voice.samples <= 4000:
        voice = replace(voice, samples=320)
    return voice


def voice_of_attributes(pt: int, rate_code: int, frame_bytes: int) -> Voice:
    """What 0x1003 says of the terminal's own sound: 输入音频编码方式, 采样率, 音频帧长度 (bytes of a block)."""
    if pt in AAC_PTS:
        return completed(Voice(pt, rate={0: 8000, 1: 22050, 2: 44100, 3: 48000}.get(rate_code, RATE)))
    return voice_of_block(pt, frame_bytes)


def voice_of_block(pt: int, size: int, is_hisi: bool = False, bits: int = 0, layout: str = "") -> Voice:
    """What a block of so many bytes (without HiSilicon's header) is, of the terminal's own sound."""
    samples = 0
    if pt in (G711A, G711U):
        samples = size
    elif pt in (G726, 1):
        bits = bits or (4 if pt == 1 else _BITS_OF_BLOCK.get(size, 4))
        samples = size * 8 // bits if size else 0
    elif pt == ADPCM or 10 <= pt <= 12:
        layout = layout or ("raw-dvi4" if size and size % 20 == 0 else "")
        samples = adpcm.sample_count(layout or "hisi", size) if size else 0
    elif pt in (15, 16, 18, 22, 23):
        samples = size // 2
    return completed(Voice(pt, samples or 320, is_hisi, bits, layout))


# ---- the operator's sound --------------------------------------------------------------------------------------------------------------


class Coder(Protocol):
    """PCM of one block to its bytes; b"" while the codec holds it back."""

    def encode(self, sound: bytes, /) -> bytes: ...


class _Law:
    def __init__(self, pt: int) -> None:
        self.encode = g711.encode_a if pt == G711A else g711.encode_u


class _Linear:
    def __init__(self, big: bool) -> None:
        self.encode: Callable[[bytes], bytes] = pcm.swap if big else bytes


class _Aac:
    """ADTS frames by PyAV, upsampled where the terminal's rate is another."""

    def __init__(self, voice: Voice) -> None:
        self._rate = voice.rate
        self._asc = aac.build_asc(voice.rate, 1)
        self._sound = AacSound(voice.rate)

    def encode(self, sound: bytes, /) -> bytes:
        return b"".join(aac.with_adts(self._asc, frame) for frame in self._sound.frames(resampled(sound, RATE, self._rate)))


def why_not(voice: Voice) -> str:
    """Why a voice cannot be spoken here, in words; empty = it can."""
    if voice.pt in (G711A, G711U, G726, 1, ADPCM, 10, 11, 12, 16, 18, 22, 23):
        return ""
    if voice.pt in AAC_PTS:
        return "" if have_av() else "AAC needs the extra `media` (PyAV), which is not installed"
    return f"sound of payload type {voice.pt} ({voice.codec}) cannot be made here"


def coder(voice: Voice) -> Coder:
    """What makes a voice's blocks; raises VoiceError."""
    problem = why_not(voice)
    if problem:
        raise VoiceError(problem)
    if voice.pt in (G711A, G711U):
        return _Law(voice.pt)
    if voice.pt in (G726, 1):
        return g726.Encoder(voice.bits, voice.layout)
    if voice.pt in AAC_PTS:
        return _Aac(voice)
    if voice.layout:
        return adpcm.Encoder(voice.layout)
    return _Linear(voice.pt == 16)


class Limiter:
    """Pulls peaks down to CEILING at once and lets go slowly; also hears whether anybody speaks."""

    def __init__(self) -> None:
        self.peak = 0  #: of the last chunk, before limiting
        self._gain = _UNITY

    def limit(self, sound: bytes) -> bytes:
        """One chunk of PCM."""
        numbers = pcm.samples(sound)
        if not numbers:
            return b""
        self.peak = peak = max(max(numbers), -min(numbers))
        wanted = _UNITY if peak <= CEILING else _UNITY * CEILING // peak
        self._gain = gain = min(wanted, self._gain + _RELEASE)
        if gain == _UNITY:
            return sound
        return pcm.to_bytes(array("h", [number * gain >> 8 for number in numbers]))


class Speaker:
    """One voice's side of a microphone: buffer, clock, coder. ``deliver(block, ms)`` gets each block with its time stamp."""

    def __init__(self, voice: Voice, clock: Clock, deliver: Callable[[bytes, int], None], keep_ms: int = 1000) -> None:
        self.voice = voice
        self.sent = 0  #: blocks of speech
        self.dropped_ms = 0.0
        self._clock = clock
        self._deliver = deliver
        self._keep_s = keep_ms / 1000
        self._coder = coder(voice)
        self._size = 2 * round(voice.block_ms * RATE / 1000)  # bytes of PCM that make a block
        if voice.pt not in AAC_PTS:
            self._size = 2 * voice.samples
        self._buffer = bytearray()
        self._begun = clock.seconds()
        self._next = 0.0  #: monotonic: when the next block is due; 0 = nobody speaks
        self._least = 0  #: bytes left after each block, at least, since ``_least_since``
        self._least_since = 0.0
        self._call: DelayedCall | None = None
        self._closed = False
        self._quiet_later()

    @property
    def speaking(self) -> bool:
        """Blocks go out by the clock."""
        return bool(self._next)

    @property
    def held_ms(self) -> float:
        """Sound that waits."""
        return len(self._buffer) / 2 * 1000 / RATE

    def push(self, sound: bytes) -> None:
        """Some of the operator's PCM, in portions of any size."""
        if self._closed:
            return
        self._buffer += sound
        most = self._size + _bytes(MOST_MS)
        if len(self._buffer) > most:
            self._drop(len(self._buffer) - self._size - _bytes(CUSHION_MS))
        if not self._next and len(self._buffer) >= self._size + _bytes(CUSHION_MS):
            now = self._clock.seconds()
            self._next, self._least, self._least_since = now, len(self._buffer), now
            self._schedule(0.0, self._tick)

    def _drop(self, size: int) -> None:
        size -= size % 2
        del self._buffer[:size]
        self.dropped_ms += size / 2 * 1000 / RATE

    def _tick(self) -> None:
        self._call = None
        now = self._clock.seconds()
        if now > self._next + LATE_S:
            self._next = now
        while self._next and self._next <= now:
            if len(self._buffer) < self._size:
                self._pause()
                return
            block, self._buffer = bytes(self._buffer[: self._size]), self._buffer[self._size :]
            self._send(block)
            self.sent += 1
            self._next += self._size / 2 / RATE
            self._watch_creep(now)
        if self._next:
            self._schedule(self._next - now, self._tick)

    def _watch_creep(self, now: float) -> None:
        """A cushion that was never used is delay and nothing else."""
        self._least = min(self._least, len(self._buffer))
        if now < self._least_since + CREEP_S:
            return
        spare = self._least - _bytes(CUSHION_MS)
        if spare > 0:
            self._drop(spare)
        self._least, self._least_since = len(self._buffer), now

    def _pause(self) -> None:
        """Nobody speaks: what is left is the end of a word."""
        if self._buffer:
            self._send(bytes(self._buffer).ljust(self._size, b"\0"))
            self._buffer.clear()
        self._next = 0.0
        self._quiet_later()

    def _quiet_later(self) -> None:
        if self._keep_s:
            self._schedule(self._keep_s, self._quiet)

    def _quiet(self) -> None:
        """Terminals end calls that bring nothing, and some begin to speak only when something came."""
        self._call = None
        self.silence()
        self._quiet_later()

    def silence(self) -> None:
        """One block of it, now."""
        if not self._closed:
            self._send(bytes(self._size))

    def _send(self, sound: bytes) -> None:
        block = self._coder.encode(sound)
        if block:
            wrapped = hisi.add_header(block) if self.voice.hisi and not len(block) & 1 else block
            self._deliver(wrapped, round((self._clock.seconds() - self._begun) * 1000))

    def _schedule(self, seconds: float, call: Callable[[], None]) -> None:
        if self._call is not None:
            self._call.cancel()
        self._call = self._clock.callLater(max(0.0, seconds), call)

    def close(self) -> None:
        """No more."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()
            self._call = None


def _bytes(ms: float) -> int:
    return 2 * round(ms * RATE / 1000)


# ---- the terminal's sound ----------------------------------------------------------------------------------------------------------------


class Uplink:
    """What a terminal sends in a call, as PCM of 8 kHz, mono."""

    def __init__(self, g726_order: str = "auto") -> None:
        self.voice: Voice | None = None  #: what it speaks, as soon as a block has come; better known once ``config`` is
        self.config: AudioConfig | None = None
        self.problem = ""  #: why it cannot be heard
        self.counts: dict[str, int] = {}
        self._sounds = Sounds(Timeline(), self._count, g726_order)
        self._decoder: PcmDecoder | None = None

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def feed(self, raw: RawFrame, now: float) -> bytes:
        """One block as it came; the PCM that is ready with it."""
        body = hisi.strip(raw.body)
        if not body:
            return b""
        if self.voice is None or self.voice.pt != raw.pt:
            self.voice = voice_of_block(raw.pt, len(body), len(body) != len(raw.body))
        out = []
        for frame in self._sounds.push(raw, now):
            config = frame.config
            if not isinstance(config, AudioConfig):
                continue
            if config is not self.config:
                self._begin(config, raw.pt, len(body), len(body) != len(raw.body))
            if self._decoder is None:
                continue
            try:
                out.append(resampled(mono(self._decoder.decode(frame.data), config.channels), config.sample_rate, RATE))
            except DecodeError:
                self._count("broken_sound")
        return b"".join(out)[-_bytes(UPLINK_MOST_MS) :]

    def _begin(self, config: AudioConfig, pt: int, size: int, is_hisi: bool) -> None:
        self.config = config
        self._decoder = decoder(config) or (av_decoder(config) if have_av() else None)
        self.problem = "" if self._decoder is not None else f"{config.codec} cannot be decoded here"
        if config.codec == "aac":
            self.voice = completed(Voice(pt, rate=config.sample_rate))
        else:
            self.voice = voice_of_block(pt, size, is_hisi, config.bits, config.layout)


def mono(sound: bytes, channels: int) -> bytes:
    """The first channel."""
    return sound if channels == 1 else pcm.to_bytes(pcm.samples(sound)[::channels])


def resampled(sound: bytes, source: int, target: int) -> bytes:
    """Another sample rate, by straight lines between samples: good enough for speech that is 8 kHz at one end."""
    if source == target or not sound:
        return sound
    numbers = pcm.samples(sound)
    count = len(numbers) * target // source
    last = len(numbers) - 1
    out = array("h")
    for place in range(count):
        at, part = divmod(place * source, target)
        left = numbers[at]
        out.append(left + (numbers[min(at + 1, last)] - left) * part // target)
    return pcm.to_bytes(out)


def ducked(sound: bytes) -> bytes:
    """18 dB softer."""
    return pcm.to_bytes(array("h", [number >> DUCK_SHIFT for number in pcm.samples(sound)]))
