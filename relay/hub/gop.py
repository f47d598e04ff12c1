"""The GOP cache: the frames since the last key frame, so that a late viewer has a picture at once.

Bounded by frames, bytes and seconds ("a stream whose key frames are never recognised grows the GOP cache for ever" is a fault seen in other
servers). On overflow the cache is dropped and viewers wait for the next key frame: a cache without its beginning decodes to nothing.
"""

from __future__ import annotations

from relay.codec.frame import VIDEO, Frame, VideoConfig, plain_picture
from relay.codec.nalu import to_avcc
from relay.jt1078.packet import pictures_of

#: blocks of sound kept for one picture at most: 50 blocks a second beside 7 pictures
SOUNDS_A_PICTURE = 8


NEVER = 1 << 62
#: bytes of a connection, where their last packet begins and ends, bytes of a video packet's header, time stamps minus output clock
Read = tuple[bytes, int, int, int, int]


class GopCache:
    """Frames from the last key frame on, picture and sound interleaved; empty while there is no whole GOP.

    ``Stream`` appends to ``items`` itself, and calls ``check`` when one of the three ``…_limit`` has been passed; bytes are counted as they
    were received, so nothing is summed up for a frame. What one read brings may go beyond a limit.

    ``shortcut`` appends whole reads, ``(bytes, …, end, header, offset)``: packets of ordinary pictures up to ``end``, their headers of so many bytes,
    their time stamps ``offset`` ahead of the output clock. The bytes are there already, and ``Frame``s are made of them when somebody asks for ``frames``.
    """

    __slots__ = ("_max_bytes", "_max_frames", "_max_ms", "_max_pictures", "bytes_limit", "dts_limit", "frames_limit", "items", "last_ms", "overflows")

    def __init__(self, max_frames: int, max_bytes: int, max_s: float) -> None:
        self._max_pictures = max_frames
        self._max_frames = max_frames * (1 + SOUNDS_A_PICTURE)
        self._max_bytes = max_bytes
        self._max_ms = int(max_s * 1000)
        self.items: list[Frame | Read] = []
        self.overflows = 0
        self.last_ms = 0  #: from the last key frame but one to the last; 0 = not known
        self.dts_limit = NEVER
        self.bytes_limit = NEVER
        self.frames_limit = NEVER

    @property
    def frames(self) -> list[Frame]:
        """All of them; empty while there is no whole GOP."""
        items = self.items
        count = len(items)
        if any(type(item) is tuple for item in items):
            config: VideoConfig = items[0].config  # type: ignore[union-attr,assignment]
            frames: list[Frame] = []
            for item in items:
                if isinstance(item, Frame):
                    frames.append(item)
                else:
                    data, _, end, header, offset = item
                    frames += [plain_picture(stamp - offset, to_avcc([body[4:]]), config) for stamp, body in pictures_of(data, end, header)]
            items[:] = frames
            self.frames_limit += len(frames) - count
        return items  # type: ignore[return-value]

    def restart(self, frame: Frame, received: int) -> None:
        """A key frame begins a new GOP; ``received`` is the stream's count of bytes with it."""
        if self.items:
            first = self.items[0]
            assert isinstance(first, Frame)  # noqa: S101 - the key frame came the long way
            self.last_ms = frame.dts - first.dts
        self.items = [frame]
        self.dts_limit = frame.dts + self._max_ms
        self.bytes_limit = received - len(frame.data) + self._max_bytes
        self.frames_limit = self._max_pictures

    def check(self, received: int) -> bool:
        """A limit may have been passed: whether the cache had to be dropped."""
        if not self.items:
            return False
        frames = self.frames
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
        self.items = []
        self.dts_limit = self.bytes_limit = self.frames_limit = NEVER

    def size(self) -> int:
        """Bytes of the cached frames."""
        return sum(len(frame.data) for frame in self.frames)
