"""The GOP cache: the frames since the last key frame, so that a late viewer has a picture at once.

Bounded by frames, bytes and seconds ("a stream whose key frames are never recognised grows the GOP cache for ever" is a fault seen in other
servers). On overflow the cache is dropped and viewers wait for the next key frame: a cache without its beginning decodes to nothing.
"""

from __future__ import annotations

from relay.codec.frame import VIDEO, Frame

#: blocks of sound kept for one picture at most: 50 blocks a second beside 7 pictures
SOUNDS_A_PICTURE = 8


NEVER = 1 << 62


class GopCache:
    """Frames from the last key frame on, video and sound interleaved; ``frames`` is empty while there is no whole GOP.

    ``Stream`` appends to ``frames`` itself, and calls ``check`` when one of the three ``…_limit`` has been passed; bytes are counted as they
    were received, so nothing is summed up for a frame. What one read brings may go beyond a limit.
    """

    __slots__ = ("_max_bytes", "_max_frames", "_max_ms", "_max_pictures", "bytes_limit", "dts_limit", "frames", "frames_limit", "last_ms", "overflows")

    def __init__(self, max_frames: int, max_bytes: int, max_s: float) -> None:
        self._max_pictures = max_frames
        self._max_frames = max_frames * (1 + SOUNDS_A_PICTURE)
        self._max_bytes = max_bytes
        self._max_ms = int(max_s * 1000)
        self.frames: list[Frame] = []
        self.overflows = 0
        self.last_ms = 0  #: from the last key frame but one to the last; 0 = not known
        self.dts_limit = NEVER
        self.bytes_limit = NEVER
        self.frames_limit = NEVER

    def restart(self, frame: Frame, received: int) -> None:
        """A key frame begins a new GOP; ``received`` is the stream's count of bytes with it."""
        if self.frames:
            self.last_ms = frame.dts - self.frames[0].dts
        self.frames = [frame]
        self.dts_limit = frame.dts + self._max_ms
        self.bytes_limit = received - len(frame.data) + self._max_bytes
        self.frames_limit = self._max_pictures

    def check(self, received: int) -> bool:
        """A limit may have been passed: whether the cache had to be dropped."""
        frames = self.frames
        if not frames:
            return False
        if frames[-1].dts <= self.dts_limit and received <= self.bytes_limit:
            if len(frames) <= self.frames_limit:
                return False
            pictures = sum(frame.kind == VIDEO for frame in frames)
            if pictures <= self._max_pictures and len(frames) <= self._max_frames:
                self.frames_limit = len(frames) + self._max_pictures - pictures  # the rest was sound
                return False
        self.clear()
        self.overflows += 1
        return True

    def clear(self) -> None:
        """No GOP until the next key frame."""
        self.frames = []
        self.dts_limit = self.bytes_limit = self.frames_limit = NEVER

    def size(self) -> int:
        """Bytes of the cached frames."""
        return sum(len(frame.data) for frame in self.frames)
