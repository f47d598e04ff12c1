"""Motion JPEG: pictures one after the other.

Over HTTP as ``multipart/x-mixed-replace`` (what cameras and ``<img>`` understand)::

    --frame CRLF Content-Type: image/jpeg CRLF Content-Length: n CRLF CRLF <n bytes> CRLF

in WebSocket messages bare JPEG files.
"""

from __future__ import annotations

from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.errors import UsageError
from relay.mux.base import unsupported

BOUNDARY = "frame"


class MjpegMuxer:
    """``mux.base.Muxer`` for pictures."""

    content_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"

    def __init__(self, multipart: bool = True) -> None:
        self._multipart = multipart

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None, now_ms: int) -> bytes:
        """Every picture says for itself what it is."""
        for config in (video, audio):
            if config is not None and (why := unsupported("mjpeg", config)):
                raise UsageError(why)
        return b""

    def header(self) -> bytes:
        """There is none."""
        return b""

    def write(self, frame: Frame) -> bytes:
        if frame.kind != VIDEO:
            return b""
        data = frame.data
        if not self._multipart:
            return data
        return b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (BOUNDARY.encode(), len(data), data)
