"""The GOP cache: the frames since the last key frame, so that a late viewer has a picture at once.

Bounded by frames, bytes and seconds ("a stream whose key frames are never recognised grows the GOP cache for ever" is a fault seen in other
servers). On overflow the cache is dropped and viewers wait for the next key frame: a cache without its beginning decodes to nothing.
"""

from __future__ import annotations

from relay.codec.frame import VIDEO, Frame

#: blocks of sound kept for one picture at most: 50 blocks a second beside 7 pictures
SOUNDS_A_PICTURE = 8


class GopCache:
    """Frames from the last key frame on, video and sound interleaved; ``frames`` is empty while there is no whole GOP."""

    __slots__ = ("_max_bytes", "_max_frames", "_max_ms", "_max_pictures", "bytes", "frames", "overflows", "pictures")

    def __init__(self, max_frames: int, max_bytes: int, max_s: float) -> None:
        self._max_pictures = max_frames
        self._max_frames = max_frames * (1 + SOUNDS_A_PICTURE)
        self._max_bytes = max_bytes
        self._max_ms = int(max_s * 1000)
        self.frames: list[Frame] = []
        self.bytes = 0
        self.pictures = 0
        self.overflows = 0

    def restart(self, frame: Frame) -> bool:
        """A key frame begins a new GOP; False when it alone is too large to keep."""
        self.frames = [frame]
        self.bytes = len(frame.data)
        self.pictures = 1
        return self.bytes <= self._max_bytes or self._overflow()

    def add(self, frame: Frame) -> bool:
        """Append; False when this dropped the cache. Ignored while there is no GOP."""
        frames = self.frames
        if not frames:
            return True
        frames.append(frame)
        self.bytes += len(frame.data)
        if frame.kind == VIDEO:
            self.pictures += 1
        if (
            self.bytes > self._max_bytes
            or self.pictures > self._max_pictures
            or len(frames) > self._max_frames
            or frame.dts - frames[0].dts > self._max_ms
        ):
            return self._overflow()
        return True

    def clear(self) -> None:
        """No GOP until the next key frame."""
        self.frames = []
        self.bytes = self.pictures = 0

    def _overflow(self) -> bool:
        self.clear()
        self.overflows += 1
        return False
