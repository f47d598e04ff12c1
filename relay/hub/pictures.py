"""Pictures from codec to codec through PyAV (the extra ``media``): to JPEG, and H.265 to H.264.

Each pipeline is used by one thread at a time, takes frames in order and gives frames; a damaged one costs itself. It imports PyAV when it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol

from relay.codec import h264
from relay.codec.frame import VIDEO, Frame, VideoConfig
from relay.codec.nalu import split_annexb, to_avcc
from relay.errors import DecodeError

#: quantiser of JPEG, 2 (best) to 31: 5 is some 40 KiB for 704x576
JPEG_QUANTISER = 5
#: constant rate factor of x264: 23 is its default; terminals' pictures are noisy, and two steps more halve nothing that is seen
H264_FACTOR = 25
_PARAMETERS = (7, 8, 9)  #: NAL units that are not in samples


class Pipeline(Protocol):
    """What runs in a job."""

    dropped: int  #: pictures that were damaged

    def run(self, frames: Sequence[Frame]) -> list[Frame]:
        """Frames made of frames; sound passes."""


class _Decoder:
    """Pictures of one description after the other."""

    def __init__(self) -> None:
        import av

        self.av = av
        self._config: VideoConfig | None = None
        self._context: Any = None

    def decode(self, frame: Frame) -> list[Any]:
        """The pictures that are whole with it, in order of presentation; their ``pts`` is the frame's."""
        config = frame.config
        assert isinstance(config, VideoConfig)  # noqa: S101 - a picture's
        if self._context is None or config != self._config:
            self._config = config
            context = self.av.CodecContext.create("h264" if config.codec == "h264" else "hevc", "r")
            context.extradata = config.record
            context.thread_count = 1
            if not config.reorder:
                context.flags |= self.av.codec.context.Flags.low_delay
            self._context = context
        packet = self.av.Packet(frame.data)
        packet.pts, packet.dts = frame.pts, frame.dts
        packet.time_base = Fraction(1, 1000)
        try:
            return list(self._context.decode(packet))
        except self.av.FFmpegError as error:
            raise DecodeError("picture", 0, str(error)) from error

    def flush(self) -> list[Any]:
        """What it still holds."""
        try:
            return list(self._context.decode(None)) if self._context is not None else []
        except self.av.FFmpegError as error:
            raise DecodeError("picture", 0, str(error)) from error


class _JpegEncoder:
    def __init__(self, av: Any) -> None:
        self._av = av
        self._size = (0, 0)
        self._context: Any = None

    def encode(self, picture: Any) -> bytes:
        """One picture as a JPEG file."""
        if (picture.width, picture.height) != self._size:
            self._size = (picture.width, picture.height)
            context = self._av.CodecContext.create("mjpeg", "w")
            context.width, context.height = self._size
            context.pix_fmt = "yuvj420p"
            context.time_base = Fraction(1, 1000)
            context.thread_count = 1
            context.options = {"qmin": str(JPEG_QUANTISER), "qmax": str(JPEG_QUANTISER)}
            self._context = context
        converted = picture.reformat(format="yuvj420p")
        converted.pts = None
        return b"".join(bytes(packet) for packet in self._context.encode(converted))


def snapshot(frame: Frame) -> bytes:
    """A key frame as a JPEG file; ``DecodeError`` when it cannot be decoded."""
    decoder = _Decoder()
    pictures = decoder.decode(frame) or decoder.flush()
    if not pictures:
        raise DecodeError("picture", 0, "the key frame gives no picture")
    return _JpegEncoder(decoder.av).encode(pictures[0])


class JpegPipeline:
    """Motion JPEG: every picture by itself, at most ``fps`` a second; of a batch that has waited only the latest."""

    def __init__(self, fps: float, keys_only: bool = False) -> None:
        self._decoder = _Decoder()
        self._encoder = _JpegEncoder(self._decoder.av)
        self._step = 1000 / fps
        self._next = -1.0
        self._keys_only = keys_only
        self._config: VideoConfig | None = None
        self.dropped = 0

    def run(self, frames: Sequence[Frame]) -> list[Frame]:
        out: list[Frame] = []
        latest: tuple[Any, Frame] | None = None
        for frame in frames:
            if frame.kind != VIDEO or (self._keys_only and not frame.key):
                continue
            try:
                pictures = self._decoder.decode(frame)
                if self._keys_only and not pictures:
                    pictures = self._decoder.flush()
                    self._decoder = _Decoder()  # after a flush it takes nothing more
            except DecodeError:
                self.dropped += 1
                continue
            if pictures:
                latest = pictures[-1], frame
        if latest is not None and (latest[1].dts >= self._next or latest[1].dts < self._next - 10 * self._step):
            picture, frame = latest
            data = self._encoder.encode(picture)
            config = VideoConfig("jpeg", (), b"", picture.width, picture.height, "")
            if config != self._config:
                self._config = config
            self._next = max(self._next + self._step, frame.dts + self._step / 2)
            out.append(Frame(VIDEO, frame.dts, frame.dts, True, data, self._config or config, 0, frame.source_time))
        return out


class H264Pipeline:
    """H.265 to H.264 with the same key frames, without B frames; sound goes with the pictures it came between."""

    def __init__(self) -> None:
        self._decoder = _Decoder()
        self._encoder: Any = None
        self._size = (0, 0)
        self._keys: set[int] = set()
        self._sets: tuple[list[bytes], list[bytes]] = ([], [])
        self._config: VideoConfig | None = None
        self._times: dict[int, float] = {}
        self.dropped = 0

    def run(self, frames: Sequence[Frame]) -> list[Frame]:
        out: list[Frame] = []
        for frame in frames:
            if frame.kind != VIDEO:
                out.append(frame)
                continue
            if frame.key:
                self._keys.add(frame.pts)
            self._times[frame.pts] = frame.source_time
            try:
                for picture in self._decoder.decode(frame):
                    out += self._encode(picture)
            except DecodeError:
                self.dropped += 1
            if len(self._times) > 64:  # pictures that never came out
                for pts in sorted(self._times)[:32]:
                    del self._times[pts]
                    self._keys.discard(pts)
        return out

    def _encode(self, picture: Any) -> list[Frame]:
        av = self._decoder.av
        if (picture.width, picture.height) != self._size:
            self._size = (picture.width, picture.height)
            context = av.CodecContext.create("libx264", "w")
            context.width, context.height = picture.width & ~1, picture.height & ~1
            context.pix_fmt = "yuv420p"
            context.time_base = Fraction(1, 1000)
            context.framerate = Fraction(25, 1)
            context.thread_count = 1
            context.gop_size = 3000  # key frames come where the source has them
            context.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": str(H264_FACTOR), "forced-idr": "1"}
            self._encoder = context
            self._keys.add(picture.pts)
        converted = picture.reformat(format="yuv420p", width=picture.width & ~1, height=picture.height & ~1)
        converted.pts = picture.pts
        converted.time_base = Fraction(1, 1000)
        converted.pict_type = av.video.frame.PictureType.I if picture.pts in self._keys else av.video.frame.PictureType.NONE
        self._keys.discard(picture.pts)
        frames = []
        for packet in self._encoder.encode(converted):
            frames += self._frame(bytes(packet), int(packet.pts or 0))
        return frames

    def _frame(self, data: bytes, pts: int) -> list[Frame]:
        units = split_annexb(data)
        sps = [unit for unit in units if h264.nal_type(unit) == 7]
        pps = [unit for unit in units if h264.nal_type(unit) == 8]
        if sps and pps:
            self._config = h264.video_config(sps, pps)
        samples = [unit for unit in units if h264.nal_type(unit) not in _PARAMETERS]
        if self._config is None or not samples:
            return []
        source_time = self._times.pop(pts, 0.0)
        return [Frame(VIDEO, pts, pts, h264.is_key(samples), to_avcc(samples), self._config, 0, source_time)]
