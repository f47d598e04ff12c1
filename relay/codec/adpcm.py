"""IMA/DVI ADPCM (PT 26 "ADPCMA", and DVI4 of PT 10 to 13): 4 bits a sample.

Arithmetic: IMA Digital Audio Focus Group, revision 3.0, the shift-and-add form. Layouts of a frame::

    hisi       predictor i16 LE, step index u8, 0, nibbles high first; the predictor is the state before the first sample
    rtp-dvi4   the same with the predictor big-endian (RFC 3551 4.5.1)
    ima-wav    the same bytes, nibbles low first, and the predictor is itself the first sample
    raw-dvi4   nibbles high first and nothing else ("ORG_DVI4"); the state runs on from frame to frame

The HiSilicon header (``relay.codec.hisi``) is off already. Every frame of the first three is decodable alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Literal

from relay.codec.pcm import innovation, samples, to_bytes
from relay.errors import DecodeError, UsageError

LAYOUTS = ("hisi", "ima-wav", "raw-dvi4", "rtp-dvi4")

_STATE = 4  #: bytes of state before the nibbles
_MAX_INDEX = 88

_STEPS = (
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97, 107, 118, 130, 143,
    157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552,
    1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493, 10442, 11487,
    12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767,
)  # fmt: skip
_INDEX_CHANGE = (-1, -1, -1, -1, 2, 4, 6, 8)


def _difference(step: int, nibble: int) -> int:
    size = step >> 3
    if nibble & 4:
        size += step
    if nibble & 2:
        size += step >> 1
    if nibble & 1:
        size += step >> 2
    return -size if nibble & 8 else size


#: By index * 16 + nibble: the difference, and the next index * 16.
_TABLE = tuple(
    (_difference(step, nibble), min(max(index + _INDEX_CHANGE[nibble & 7], 0), _MAX_INDEX) << 4)
    for index, step in enumerate(_STEPS)
    for nibble in range(16)
)


def _run(data: bytes, predictor: int, index: int, low_first: bool, out: array[int]) -> tuple[int, int]:
    """Appends two samples a byte; returns predictor and index afterwards."""
    table, append = _TABLE, out.append
    base = index << 4
    first, second = (0, 4) if low_first else (4, 0)
    for byte in data:
        change, base = table[base | byte >> first & 15]
        predictor += change
        if predictor > 32767:
            predictor = 32767
        elif predictor < -32768:
            predictor = -32768
        append(predictor)
        change, base = table[base | byte >> second & 15]
        predictor += change
        if predictor > 32767:
            predictor = 32767
        elif predictor < -32768:
            predictor = -32768
        append(predictor)
    return predictor, base >> 4


def sample_count(layout: str, size: int) -> int:
    """Samples in a frame of ``size`` bytes."""
    if layout == "raw-dvi4":
        return 2 * size
    return max(2 * (size - _STATE), 0) + (layout == "ima-wav" and size >= _STATE)


class _Running:
    """One stream's state, from frame to frame."""

    def __init__(self, layout: str) -> None:
        if layout not in LAYOUTS:
            raise UsageError(f"no ADPCM layout {layout!r}")
        self.layout = layout
        self._predictor = self._index = 0

    def reset(self) -> None:
        """Forgets what runs on from frame to frame (decoding: of ``raw-dvi4`` alone); for discontinuities."""
        self._predictor = self._index = 0


class Decoder(_Running):
    """Decodes frame after frame of one stream."""

    def decode(self, data: bytes) -> bytes:
        """One frame to signed 16 bit little-endian; ``DecodeError`` when its state is impossible."""
        return to_bytes(self.samples(data))

    def samples(self, data: bytes) -> array[int]:
        """One frame's samples."""
        out = array("h")
        if self.layout == "raw-dvi4":
            self._predictor, self._index = _run(data, self._predictor, self._index, False, out)
            return out
        if len(data) < _STATE:
            raise DecodeError("ADPCM frame", len(data), f"needs {_STATE} bytes of state, {len(data)} left")
        index = data[2]
        if index > _MAX_INDEX:
            raise DecodeError("ADPCM frame", 2, f"step index {index}, at most {_MAX_INDEX}")
        predictor = int.from_bytes(data[:2], "big" if self.layout == "rtp-dvi4" else "little", signed=True)
        low_first = self.layout == "ima-wav"
        if low_first:
            out.append(predictor)
        _run(data[_STATE:], predictor, index, low_first, out)
        return out


def _nibble(step: int, difference: int) -> int:
    """The code whose difference comes nearest from below: sign, step, half of it, a quarter."""
    code = 0
    if difference < 0:
        code, difference = 8, -difference
    if difference >= step:
        code |= 4
        difference -= step
    if difference >= step >> 1:
        code |= 2
        difference -= step >> 1
    return code | (difference >= step >> 2)


class Encoder(_Running):
    """Codes frame after frame of one stream, for talking back to a terminal."""

    def encode(self, pcm: bytes) -> bytes:
        """Signed 16 bit little-endian to one frame: an even number of samples, ``ima-wav`` one more."""
        numbers = samples(pcm)
        head = b""
        if self.layout == "ima-wav" and numbers:
            self._predictor = numbers.pop(0)
        if self.layout != "raw-dvi4":
            order: Literal["big", "little"] = "big" if self.layout == "rtp-dvi4" else "little"
            head = self._predictor.to_bytes(2, order, signed=True) + bytes((self._index, 0))
        predictor, base = self._predictor, self._index << 4
        codes = []
        for number in numbers:
            code = _nibble(_STEPS[base >> 4], number - predictor)
            change, base = _TABLE[base | code]
            predictor = max(-32768, min(32767, predictor + change))
            codes.append(code)
        self._predictor, self._index = predictor, base >> 4
        if len(codes) & 1:
            codes.append(0)
        pairs = zip(codes[::2], codes[1::2], strict=True)
        packed = bytes(b << 4 | a for a, b in pairs) if self.layout == "ima-wav" else bytes(a << 4 | b for a, b in pairs)
        return head + packed


def _has_state(frames: Sequence[bytes]) -> bool:
    """Every frame begins with a possible state. Lengths decide when the sound is silent: nibbles of whole 5 ms are multiples of 20 bytes."""
    if not all(len(frame) > _STATE and frame[2] <= _MAX_INDEX and frame[3] == 0 for frame in frames):
        return False
    return any(len(frame) % 20 for frame in frames) or any(any(frame[:3]) for frame in frames)


#: Frames compared at most, and bytes of each: what a second of speech has, and no more of what a hostile terminal sends.
_COMPARED, _COMPARED_BYTES = 25, 804


def detect(frames: Sequence[bytes], pt: int = 26) -> str:
    """The layout of a stream from its first frames, the more the surer; with one frame of speech it is right nearly always.

    Step index and reserved byte tell whether there is a state; the order of the nibbles is the one
    that leaves less unforeseen.
    PT 10 to 13 are RTP's names, so big-endian predictors are tried with them.
    """
    frames = [frame[:_COMPARED_BYTES] for frame in frames[:_COMPARED] if frame]
    if not frames or not _has_state(frames):
        return "raw-dvi4"
    candidates = ("hisi", "ima-wav", "rtp-dvi4") if 10 <= pt <= 13 else ("hisi", "ima-wav")
    unforeseen: dict[str, float] = {}
    for layout in candidates:
        decoder = Decoder(layout)
        sound = array("h")
        for frame in frames:
            sound.extend(decoder.samples(frame))
        unforeseen[layout] = innovation(sound)
    return min(candidates, key=lambda layout: unforeseen[layout])
