"""AMR narrow-band speech (PT 28), in frames of 20 ms as files store them (RFC 4867 section 5.3).

::

    table of contents: 0 1 | frame type 4 | quality 1 | 0 2        then the frame's speech bits, padded to bytes

Frame types 0 to 7 are 4.75 to 12.2 kbit/s, 8 is comfort noise, 15 nothing. A body may hold several frames, and a stream begin with a file's ``#!AMR``.
"""

from __future__ import annotations

from relay.errors import DecodeError

SAMPLE_RATE = 8000
FRAME_SAMPLES = 160
MAGIC = b"#!AMR\n"
#: bytes after the table of contents, by frame type
SIZES = {0: 12, 1: 13, 2: 15, 3: 17, 4: 19, 5: 20, 6: 26, 7: 31, 8: 5, 15: 0}
FRAMES_MAX = 50  #: of one body: a second; terminals send one to ten


def split(body: bytes) -> list[bytes]:
    """The frames of a body, each with its table of contents; ``DecodeError`` when they do not add up."""
    frames: list[bytes] = []
    at = len(MAGIC) if body.startswith(MAGIC) else 0
    size = len(body)
    while at < size:
        head = body[at]
        length = SIZES.get(head >> 3 & 15)
        if length is None or head & 0x83:
            raise DecodeError("AMR frame", at, f"0x{head:02x} is no table of contents")
        end = at + 1 + length
        if end > size:
            raise DecodeError("AMR frame", at, f"needs {1 + length} bytes, {size - at} left")
        if len(frames) >= FRAMES_MAX:
            raise DecodeError("AMR frame", at, f"more than {FRAMES_MAX} frames in a body")
        frames.append(body[at:end])
        at = end
    return frames
