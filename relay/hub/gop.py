"""The GOP cache: the frames since the last key frame, so that a late viewer has a picture at once.

Bounded by frames, bytes and seconds ("a stream whose key frames are never recognised grows the GOP cache for ever" is a fault seen in other
servers). On overflow the cache is dropped and viewers wait for the next key frame: a cache without its beginning decodes to nothing.
"""

from __future__ import annotations

from relay.codec.frame import VIDEO, Frame

#: blocks of sound kept for one picture at most: 50 blocks a second beside 7 pictures
SOUNDS_A_PICTURE = 8


class GopCache:
    """Frames from the last key frame on, video and sound interleaved; ``frames`` is empty while there is no whole GOP.

    ``Stream`` appends to ``frames`` itself and calls ``added`` once a read: the limits may be passed by what one read brings.
    """

    __slots__ = ("_max_bytes", "_max_frames", "_max_ms", "_max_pictures", "bytes", "frames", "overflows")

    def __init__(self, max_frames: int, max_bytes: int, max_s: float) -> None:
        self._max_pictures = max_frames
        self._max_frames = max_frames * (1 + SOUNDS_A_PICTURE)
        self._max_bytes = max_bytes
        self._max_ms = int(max_s * 1000)
        self.frames: list[Frame] = []
        self.bytes = 0
        self.overflows = 0

    def restart(self, frame: Frame) -> None:
        """A key frame begins a new GOP."""
        self.frames = [frame]
        self.bytes = len(frame.data)

    def added(self, size: int) -> None:
        """So many bytes were appended to ``frames``; over a limit the cache is dropped."""
        frames = self.frames
        self.bytes += size
        if frames and (
            self.bytes > self._max_bytes
            or (len(frames) > self._max_pictures and (len(frames) > self._max_frames or self.pictures() > self._max_pictures))
            or frames[-1].dts - frames[0].dts > self._max_ms
        ):
            self.clear()
            self.overflows += 1

    def clear(self) -> None:
        """No GOP until the next key frame."""
        self.frames = []
        self.bytes = 0

    def pictures(self) -> int:
        """Video frames in the cache."""
        return sum(frame.kind == VIDEO for frame in self.frames)
