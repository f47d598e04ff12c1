"""Elementary streams written to files: the picture as it was sent, the sound decoded to 16-bit WAV."""

from __future__ import annotations

from typing import Any, BinaryIO, cast

from relay.cli.common import InputError
from relay.codec.audio import decoder
from relay.codec.frame import AudioConfig, Frame
from relay.codec.pcm import wav_header
from relay.errors import DecodeError
from relay.jt1078.assembly import RawFrame


class VideoFile:
    """The picture's whole frames as they were sent."""

    def __init__(self, target: BinaryIO, channel: int | None) -> None:
        self.frames = 0
        self._target = target
        self._channel = channel

    def write(self, raw: RawFrame) -> None:
        if self._channel is None:
            self._channel = raw.channel
        if raw.channel == self._channel:
            self.frames += 1
            self._target.write(raw.body)


class AudioFile:
    """The sound decoded, as 16-bit WAV. AAC, MP3 and AMR need PyAV (the ``media`` extra)."""

    def __init__(self, target: BinaryIO, channel: int | None) -> None:
        self._target = target
        self._channel = channel
        self._config: AudioConfig | None = None
        self._decode: Any = None
        self._size = 0
        self._rate = 8000
        self._channels = 1
        self.blocks = 0
        self.damaged = 0

    def write(self, channel: int, frame: Frame) -> None:
        if self._channel is None:
            self._channel = channel
        if channel != self._channel:
            return
        config = cast(AudioConfig, frame.config)
        if config != self._config:
            self._begin(config)
        try:
            pcm = self._decode(frame.data)
        except DecodeError:
            self.damaged += 1
            return
        self.blocks += 1
        self._size += len(pcm)
        self._target.write(pcm)

    def _begin(self, config: AudioConfig) -> None:
        if self._config is None:
            self._rate, self._channels = config.sample_rate, config.channels
            self._target.write(bytes(44))
        elif (config.sample_rate, config.channels) != (self._rate, self._channels):
            raise InputError(f"the sound changes from {self._rate} to {config.sample_rate} Hz; a WAV file holds one rate")
        self._config = config
        plain = decoder(config)
        self._decode = plain.decode if plain is not None else _av_decoder(config)

    def close(self) -> None:
        """The header, now that the size is known."""
        if self.blocks:
            self._target.seek(0)
            self._target.write(wav_header(self._size, self._rate, self._channels))


def _av_decoder(config: AudioConfig) -> Any:
    codec = {"aac": "aac", "mp3": "mp3", "amr": "amrnb", "flac": "flac"}.get(config.codec)
    if codec is None:
        raise InputError(f"no decoder for {config.codec}")
    try:
        import av
    except ImportError:
        raise InputError(f"{config.codec} is decoded by PyAV, which is not installed: pip install 'jt1078relay[media]'") from None
    context: Any = av.CodecContext.create(codec, "r")
    context.extradata = config.extra or None
    resampler = av.AudioResampler(format="s16", layout="mono" if config.channels == 1 else "stereo", rate=config.sample_rate)

    def decode(data: bytes) -> bytes:
        try:
            frames = [out for frame in context.decode(av.Packet(data)) for out in resampler.resample(frame)]
        except av.FFmpegError as problem:
            raise DecodeError(config.codec, 0, str(problem)) from None
        return b"".join(bytes(frame.planes[0])[: frame.samples * 2 * config.channels] for frame in frames)

    return decode
