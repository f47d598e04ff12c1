"""Sound from codec to codec: the clock that counts samples, and decoders and encoders of PyAV (the extra ``media``).

::

    block ─→ SampleClock.place ─→ decoder ─→ PCM, signed 16 bit little-endian ─→ encoder ─→ frames of the target
             (gaps, jumps)        pure Python or PyAV                            FLAC, or AAC and Opus by PyAV

``Pipeline`` is what a job of ``relay.hub.transcode`` runs; it is used by one thread at a time and imports PyAV when it is made.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from fractions import Fraction
from typing import Protocol

from relay.codec import aac, flac
from relay.codec.audio import DECODABLE, PcmDecoder, decoder
from relay.codec.frame import AUDIO, AudioConfig, Frame
from relay.errors import DecodeError

#: A stamp may differ by so much from the count of samples before it is believed: more than the trembling of terminals' stamps (two
#: or three blocks of 40 ms), less than what is heard as out of step with the picture.
JUMP_MS = 120
#: A gap up to this long is filled with silence; after a longer one the count starts anew.
FILL_MAX_MS = 5000

_OPUS_RATES = frozenset({8000, 12000, 16000, 24000, 48000})
#: What an Opus decoder throws away first, in samples at 48 kHz: libopus's look-ahead of 6.5 ms.
_OPUS_PRESKIP = 312
#: AudioSpecificConfig's backward compatible extension saying "no SBR": without it decoders may expect it at rates up to 24 kHz.
_NO_SBR = b"\x56\xe5\x00"

#: PyAV's names of the decoders of sources that pure Python does not decode.
AV_DECODERS = {"aac": "aac", "mp3": "mp3", "amr": "amrnb"}


def have_av() -> bool:
    """PyAV is installed; it is imported when it is first needed, in a thread."""
    return importlib.util.find_spec("av") is not None


# --- time -------------------------------------------------------------------------------------------------------------------------


class SampleClock:
    """Where on the output clock each sample is, by counting from an anchor."""

    __slots__ = ("anchor_ms", "count", "rate", "started")

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.anchor_ms = 0
        self.count = 0  #: samples since the anchor
        self.started = False

    @property
    def now_ms(self) -> int:
        """The time of the next sample."""
        return self.anchor_ms + self.count * 1000 // self.rate

    def place(self, dts: int) -> int:
        """Before a block with this stamp: samples of silence to insert; -1 = leave the block out. May set a new anchor."""
        if not self.started:
            self.started = True
            self.anchor_ms = dts
            return 0
        off = dts - self.now_ms
        if -JUMP_MS <= off <= JUMP_MS:
            return 0
        if off < 0:
            return -1
        if off <= FILL_MAX_MS:
            return off * self.rate // 1000
        self.anchor_ms = dts
        self.count = 0
        return 0


# --- with PyAV -------------------------------------------------------------------------------------------------------------


class _Sound(Protocol):
    """PCM to frames of the target."""

    @property
    def missing(self) -> int:
        """Samples until the next frame is whole; 0 = any bring something."""

    def encode(self, sound: bytes, clock: SampleClock, source_time: float) -> list[Frame]:
        """The frames that are complete now; the clock is moved on by the sound's samples."""


class _FlacSound:
    missing = 0

    def __init__(self, config: AudioConfig) -> None:
        self._config = config
        self._encoder = flac.Encoder(config.sample_rate, config.channels)

    def encode(self, sound: bytes, clock: SampleClock, source_time: float) -> list[Frame]:
        frames = []
        for data, count in self._encoder.encode(sound):
            at = clock.now_ms
            frames.append(Frame(AUDIO, at, at, True, data, self._config, count, source_time))
            clock.count += count
        return frames


class _AvSound:
    """AAC or Opus. The encoder's own stamps (in samples, its delay taken off) tell which sound is in which packet."""

    def __init__(self, config: AudioConfig, rate: int, bitrate: int) -> None:
        import av

        self._av = av
        self._config = config
        self._rate = rate  # of the PCM that comes in
        opus = config.codec == "opus"
        context = av.CodecContext.create("libopus" if opus else "aac", "w")
        context.sample_rate = rate
        context.layout = "mono" if config.channels == 1 else "stereo"
        context.format = "s16" if opus else "fltp"
        context.time_base = Fraction(1, rate)
        context.bit_rate = bitrate
        # FFmpeg's other coder takes five times as long for speech, and at these rates the sound is no nearer to the original for it
        context.options = {"application": "voip", "frame_duration": "20"} if opus else {"aac_coder": "fast"}
        context.open()
        self._context = context
        self._floats = None if opus else av.AudioResampler(format="fltp", layout=context.layout, rate=rate)
        self._size = rate // 50 if opus else aac.FRAME_SAMPLES
        self._frame_samples = 960 if opus else aac.FRAME_SAMPLES  # Opus counts at 48 kHz whatever it is fed
        self._step = 2 * config.channels  # bytes a sample
        self._waiting = b""  # PCM of less than one frame
        self._fed = 0  # samples, of this encoder's life
        #: (first sample of the encoder's life, its time): the last anchors, since packets lag behind
        self._anchors: deque[tuple[int, int]] = deque(maxlen=4)
        self._last = -1

    @property
    def missing(self) -> int:
        return self._size - len(self._waiting) // self._step

    def encode(self, sound: bytes, clock: SampleClock, source_time: float) -> list[Frame]:
        step = self._step
        at = clock.now_ms
        position = self._fed + len(self._waiting) // step
        if not self._anchors or clock.count == 0:
            if self._waiting:  # sound before a new anchor goes out with silence behind it
                gap = self._size - len(self._waiting) // step
                self._waiting += bytes(gap * step)
                position += gap
            self._anchors.append((position, at))
        self._waiting += sound
        clock.count += len(sound) // step
        frames: list[Frame] = []
        size = self._size * step
        offset = 0
        while len(self._waiting) - offset >= size:
            frames += self._packets(self._waiting[offset : offset + size], source_time)
            offset += size
        self._waiting = self._waiting[offset:]
        return frames

    def _packets(self, sound: bytes, source_time: float) -> list[Frame]:
        frame = self._av.AudioFrame(format="s16", layout="mono" if self._config.channels == 1 else "stereo", samples=self._size)
        frame.sample_rate = self._rate
        frame.pts = self._fed
        frame.time_base = Fraction(1, self._rate)
        plane = frame.planes[0]
        plane.update(sound.ljust(plane.buffer_size, b"\x00"))
        self._fed += self._size
        made: list[Frame] = []
        for piece in [frame] if self._floats is None else self._floats.resample(frame):
            for packet in self._context.encode(piece):
                first = packet.pts or 0
                if first + self._size <= 0:
                    continue  # the encoder's own beginning: no sound of ours is in it
                anchor, at = self._anchors[0]
                for candidate in self._anchors:
                    if candidate[0] <= first:
                        anchor, at = candidate
                dts = max(at + (first - anchor) * 1000 // self._rate, self._last, 0)
                self._last = dts
                made.append(Frame(AUDIO, dts, dts, True, bytes(packet), self._config, self._frame_samples, source_time))
        return made


class AacSound:
    """PCM to raw frames of AAC, for a terminal that is talked to in it."""

    def __init__(self, rate: int, bitrate: int = 24000) -> None:
        config = AudioConfig("aac", rate, 1)
        self._clock = SampleClock(rate)
        self._sound = _AvSound(config, rate, bitrate)

    def frames(self, sound: bytes) -> list[bytes]:
        """Those that are complete with it."""
        return [frame.data for frame in self._sound.encode(sound, self._clock, 0.0)]


class _AvDecoder:
    """AAC, MP3, AMR or G.726 to PCM of a given rate through PyAV."""

    def __init__(self, source: AudioConfig, rate: int, channels: int) -> None:
        import av

        self._av = av
        self._source = source
        self._layout = "mono" if channels == 1 else "stereo"
        self._rate = rate
        self.reset()

    def reset(self) -> None:
        av, source = self._av, self._source
        if source.codec == "g726":
            context = av.CodecContext.create("g726le" if source.layout != "be" else "g726", "r")
            context.options = {"bits_per_coded_sample": str(source.bits)}
        else:
            context = av.CodecContext.create(AV_DECODERS[source.codec], "r")
            if source.codec == "aac":
                context.extradata = source.extra
        context.sample_rate = source.sample_rate
        context.layout = "mono" if source.channels == 1 else "stereo"
        self._context = context
        self._pcm = av.AudioResampler(format="s16", layout=self._layout, rate=self._rate)

    def decode(self, data: bytes, /) -> bytes:
        step = 2 if self._layout == "mono" else 4
        out: list[bytes] = []
        try:
            for frame in self._context.decode(self._av.Packet(data)):
                out.extend(bytes(piece.planes[0])[: piece.samples * step] for piece in self._pcm.resample(frame))
        except self._av.FFmpegError as error:
            raise DecodeError(self._source.codec, 0, str(error)) from error
        return b"".join(out)


def av_decoder(source: AudioConfig) -> PcmDecoder | None:
    """A decoder to PCM of the source's own rate and channels, through PyAV; None for what it does not decode."""
    return _AvDecoder(source, source.sample_rate, source.channels) if source.codec in AV_DECODERS else None


class _Resampled:
    """A pure decoder with PyAV's resampler behind it, for rates that the target does not have."""

    def __init__(self, source_decoder: PcmDecoder, source: AudioConfig, rate: int, channels: int) -> None:
        import av

        self._av = av
        self._decoder = source_decoder
        self._source = source
        self._rate, self._layout = rate, "mono" if channels == 1 else "stereo"
        self._new()

    def _new(self) -> None:
        self._resampler = self._av.AudioResampler(format="s16", layout=self._layout, rate=self._rate)

    def reset(self) -> None:
        self._decoder.reset()
        self._new()

    def decode(self, data: bytes, /) -> bytes:
        sound = self._decoder.decode(data)
        channels = self._source.channels
        count = len(sound) // (2 * channels)
        if not count:
            return b""
        frame = self._av.AudioFrame(format="s16", layout="mono" if channels == 1 else "stereo", samples=count)
        frame.sample_rate = self._source.sample_rate
        plane = frame.planes[0]
        plane.update(sound[: 2 * channels * count].ljust(plane.buffer_size, b"\x00"))
        step = 2 if self._layout == "mono" else 4
        return b"".join(bytes(piece.planes[0])[: piece.samples * step] for piece in self._resampler.resample(frame))


class Pipeline:
    """Decoder, clock and encoder of a pooled track; lives in whatever thread runs the present job."""

    def __init__(self, source: AudioConfig, config: AudioConfig, rate: int, bitrate: int) -> None:
        self._channels = config.channels
        self._clock = SampleClock(rate)
        pure = decoder(source) if source.codec in DECODABLE and source.codec != "g726" else None
        self._decoder: PcmDecoder
        if pure is None:
            self._decoder = _AvDecoder(source, rate, config.channels)
        elif rate == source.sample_rate and config.channels == source.channels:
            self._decoder = pure
        else:
            self._decoder = _Resampled(pure, source, rate, config.channels)
        self._sound: _Sound = _FlacSound(config) if config.codec == "flac" else _AvSound(config, rate, bitrate)

    @property
    def missing(self) -> int:
        """Samples of PCM until the next frame is whole."""
        return self._sound.missing

    def run(self, blocks: list[tuple[int, bytes, float]]) -> tuple[list[Frame], int, int]:
        """Frames made of blocks (dts, data, source time); blocks left out; milliseconds of silence put in."""
        clock, out = self._clock, []
        dropped = filled = 0
        for dts, data, source_time in blocks:
            silence = clock.place(dts)
            if silence < 0:
                dropped += 1
                continue
            if silence:  # what runs on from block to block belongs to the time before the gap
                self._decoder.reset()
            try:
                sound = self._decoder.decode(data)
            except DecodeError:
                dropped += 1
                continue
            if silence:
                filled += silence * 1000 // clock.rate
                out += self._sound.encode(bytes(2 * silence * self._channels), clock, source_time)
            if sound:
                out += self._sound.encode(sound, clock, source_time)
        return out, dropped, filled


def target_config(source: AudioConfig, target: str) -> tuple[AudioConfig, int]:
    """What comes out, and the rate of the PCM between decoder and encoder: the source's own wherever the target has it."""
    rate, channels = source.sample_rate, source.channels
    if target == "flac":
        return AudioConfig("flac", rate, channels, extra=flac.stream_info(rate, channels)), rate
    if target == "aac":
        if rate not in aac.SAMPLE_RATES:
            rate = min((r for r in aac.SAMPLE_RATES if r >= rate), default=48000)
        return AudioConfig("aac", rate, channels, extra=aac.build_asc(rate, channels) + _NO_SBR), rate
    if rate not in _OPUS_RATES:
        rate = 48000
    # RFC 7845 5.1, little-endian: version, channels, pre-skip, input rate, gain, mapping family. The input rate is for information only,
    # but Chromium wants it to be that of the MP4 sample entry, which is always 48000
    head = bytes((1, channels)) + _OPUS_PRESKIP.to_bytes(2, "little") + (48000).to_bytes(4, "little") + bytes(3)
    return AudioConfig("opus", 48000, channels, extra=head), rate
