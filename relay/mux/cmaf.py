"""Fragmented MP4 in parts of several frames, for HLS: one ``moof`` with a run a track, one ``mdat`` (ISO/IEC 14496-12, 23000-19).

::

    part:  moof { mfhd, traf { tfhd, tfdt, trun of pictures }, traf { tfhd, tfdt, trun of sounds } }, mdat { pictures, sounds }

Frames are gathered until ``take``; a picture's duration is the step to the next one, which is why a part ends only when the picture after it
is there. The initialisation segment is that of ``relay.mux.fmp4``. Sound is counted in samples, so that rounded stamps make no gaps.
"""

from __future__ import annotations

import struct

from relay.codec.audio import sample_count
from relay.codec.frame import AudioConfig, Frame, VideoConfig
from relay.mux.fmp4 import AUDIO_SLACK_MS, AUDIO_TRACK, DELTA_FLAGS, KEY_FLAGS, VIDEO_TRACK, init_segment
from relay.mux.mpegts import TsMuxer

_SAMPLE = struct.Struct(">IIIi").pack
_SOUND = struct.Struct(">II").pack


def _traf(track: int, at: int, flags: int, count: int, offset: int, samples: bytes) -> bytes:
    """``offset``: of the run's first byte, from the beginning of ``moof``."""
    size = 20 + len(samples)
    return (
        struct.pack(">I4sI4sIII4sIQ", 8 + 16 + 20 + size, b"traf", 16, b"tfhd", 0x020000, track, 20, b"tfdt", 1 << 24, at)
        + struct.pack(">I4sIII", size, b"trun", 1 << 24 | flags, count, offset)
        + samples
    )


class CmafWriter:
    """Parts of one stream."""

    content_type = "video/mp4"
    ending = "m4s"

    def __init__(self) -> None:
        self.init = b""  #: initialisation segment of the present tracks
        self._audio: AudioConfig | None = None
        self._pictures: list[Frame] = []
        self._sounds: list[Frame] = []
        self._sequence = 0
        self._audio_next = -1

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None) -> None:
        """Other tracks from the next part on."""
        if audio is None or self._audio is None or audio.sample_rate != self._audio.sample_rate:
            self._audio_next = -1
        self._audio = audio
        self.init = init_segment(video, audio)

    def begin_segment(self) -> None:
        """Every part can be read by itself."""

    def picture(self, frame: Frame) -> None:
        """A picture of the present part."""
        self._pictures.append(frame)

    def sound(self, frame: Frame) -> None:
        """A block of the present part."""
        self._sounds.append(frame)

    def take(self, end: int) -> bytes:
        """The part of what was gathered; its last picture lasts until ``end`` (ms). ``b""`` when there is nothing."""
        pictures, sounds = self._pictures, self._sounds
        if not pictures and not sounds:
            return b""
        self._pictures, self._sounds = [], []
        runs = b""
        for number, frame in enumerate(pictures):
            following = pictures[number + 1].dts if number + 1 < len(pictures) else end
            runs += _SAMPLE(max(following - frame.dts, 1), len(frame.data), KEY_FLAGS if frame.key else DELTA_FLAGS, frame.pts - frame.dts)
        sound_runs, sound_at = self._sound_run(sounds) if sounds else (b"", 0)
        video_size = 8 + 16 + 20 + 20 + len(runs) if pictures else 0
        moof_size = 8 + 16 + video_size + (8 + 16 + 20 + 20 + len(sound_runs) if sounds else 0)
        picture_bytes = sum([len(frame.data) for frame in pictures])
        payload = picture_bytes + sum([len(frame.data) for frame in sounds])
        self._sequence += 1
        parts = [struct.pack(">I4sI4sII", moof_size, b"moof", 16, b"mfhd", 0, self._sequence & 0xFFFFFFFF)]
        if pictures:
            parts.append(_traf(VIDEO_TRACK, pictures[0].dts, 0xF01, len(pictures), moof_size + 8, runs))
        if sounds:
            parts.append(_traf(AUDIO_TRACK, sound_at, 0x301, len(sounds), moof_size + 8 + picture_bytes, sound_runs))
        parts.append(struct.pack(">I4s", payload + 8, b"mdat"))
        parts += [frame.data for frame in pictures]
        parts += [frame.data for frame in sounds]
        return b"".join(parts)

    def _sound_run(self, sounds: list[Frame]) -> tuple[bytes, int]:
        audio = self._audio
        assert audio is not None  # noqa: S101 - sounds are given only while there is a track for them
        rate = audio.sample_rate
        at = sounds[0].dts * rate // 1000
        if self._audio_next >= 0 and abs(at - self._audio_next) * 1000 <= AUDIO_SLACK_MS * rate:
            at = self._audio_next
        run, position = b"", at
        for number, frame in enumerate(sounds):
            samples = frame.samples or sample_count(audio, frame.data) or rate // 25
            lasts = samples
            if number + 1 < len(sounds):  # a gap inside the part is put into the block before it
                ahead = sounds[number + 1].dts * rate // 1000 - position - samples
                if ahead * 1000 > AUDIO_SLACK_MS * rate:
                    lasts += ahead
            run += _SOUND(lasts, len(frame.data))
            position += lasts
        self._audio_next = position
        return run, at


class TsWriter:
    """The same seam over ``mux.mpegts``."""

    content_type = "video/mp2t"
    ending = "ts"
    init = b""

    def __init__(self) -> None:
        self._muxer = TsMuxer()
        self._pieces: list[bytes] = []

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None) -> None:
        """Other tracks from the next segment on."""
        self._muxer.configure(video, audio, 0)

    def begin_segment(self) -> None:
        """Tables first."""
        self._muxer.begin_segment()

    def picture(self, frame: Frame) -> None:
        """A picture of the present part."""
        self._pieces.append(self._muxer.write(frame))

    def sound(self, frame: Frame) -> None:
        """A block of the present part."""
        self._pieces.append(self._muxer.write(frame))

    def take(self, end: int) -> bytes:
        """What was gathered."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
