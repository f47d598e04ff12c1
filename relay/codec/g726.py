"""G.726 (ITU-T G.726, 12/1990; PT 8, and G.721 of PT 1 at 32 kbit/s): ADPCM of 2, 3, 4 or 5 bits a sample at 8 kHz.

Nothing in the packet tells rate and bit order::

    "le"   first sample in the least significant bits (RFC 3551's order, "right-justified"; HiSilicon and most terminals)
    "be"   first sample in the most significant bits (ITU-T I.366.2, "AAL2")

The decoder is written block by block after figure 2 and clause 2 of the Recommendation, with the names of its signals in the comments.
Numbers are plain integers where the Recommendation has sign-magnitude or two's complement words of given width; masks stand where
the width matters. The output is 14 bits, shown as 16, and saturates.

In two places it follows the decoders in use (ffmpeg's, by which the shared vectors were made) and not the letter; both are
marked ``seen`` and far below the quantisation noise.

In plain Python a sample costs some microseconds: a channel takes several per cent of a core, which is what the admission in
``relay.hub.transcode`` is for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from relay.codec.pcm import innovation, to_bytes
from relay.codec.pcm import samples as to_samples
from relay.errors import UsageError

RATES = {2: 16000, 3: 24000, 4: 32000, 5: 40000}  #: bits a sample to bit/s

#: By bits: for each magnitude of the code, the normalised log of the difference (tables 5 to 8), the scale factor multiplier W
#: (tables 9 to 12) and the speed control input F.
_LEVELS: dict[int, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    2: ((116, 365), (-22, 439), (0, 7)),
    3: ((-2048, 135, 273, 373), (-4, 30, 137, 582), (0, 1, 2, 7)),
    4: ((-2048, 4, 135, 213, 273, 323, 373, 425), (-12, 18, 41, 64, 112, 198, 355, 1122), (0, 0, 0, 1, 1, 1, 3, 7)),
    5: (
        (-2048, -66, 28, 104, 169, 224, 274, 318, 358, 395, 429, 459, 488, 514, 539, 566),
        (14, 14, 24, 39, 40, 41, 58, 100, 141, 179, 219, 280, 358, 440, 529, 696),
        (0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6),
    ),
}


#: By bits: the normalised log of a difference from which on the next larger code is sent (tables 5 to 8, left column)
_DECISIONS: dict[int, tuple[int, ...]] = {
    2: (261,),
    3: (8, 218, 331),
    4: (-124, 80, 178, 246, 300, 349, 400),
    5: (-122, -16, 68, 139, 198, 250, 298, 339, 378, 413, 445, 475, 502, 528, 553),
}


def _by_code(bits: int) -> tuple[tuple[bool, int, int, int], ...]:
    """For each code: sign, DQLN, W << 5, F << 9. A negative code is the ones' complement of its magnitude."""
    log, scale, speed = _LEVELS[bits]
    top = 1 << bits - 1
    rows = []
    for code in range(1 << bits):
        negative = bool(code & top)
        magnitude = (~code if negative else code) & (top - 1)
        rows.append((negative, log[magnitude], scale[magnitude] << 5, speed[magnitude] << 9))
    return tuple(rows)


_CODES = {bits: _by_code(bits) for bits in _LEVELS}

#: FMULT's floating form of a coefficient by its magnitude: exponent and six bits of mantissa. Coefficients have 13 bits of
#: magnitude; those of the zero section at 40 kbit/s can be driven to twice that by a hostile signal.
_FLOAT = tuple((m.bit_length(), (m << 6) >> m.bit_length() if m else 32) for m in range((1 << 14) + 1))


def unpack(data: bytes, bits: int, layout: str) -> list[int]:
    """The codes of one block; bits that make no whole code at its end are left out."""
    count = 8 * len(data) // bits
    mask = (1 << bits) - 1
    if bits in (2, 4):  # whole codes to a byte
        shifts = range(0, 8, bits) if layout == "le" else range(8 - bits, -1, -bits)
        return [byte >> shift & mask for byte in data for shift in shifts]
    codes: list[int] = []
    # eight codes fill `bits` bytes, so groups of that many bytes are cut out of one number each
    for offset in range(0, len(data), bits):
        group = data[offset : offset + bits]
        if layout == "le":
            value = int.from_bytes(group, "little")
            codes.extend([value >> shift & mask for shift in range(0, 8 * bits, bits)])
        else:
            value = int.from_bytes(group.ljust(bits, b"\x00"), "big")
            codes.extend([value >> shift & mask for shift in range(7 * bits, -1, -bits)])
    del codes[count:]
    return codes


def pack(codes: Sequence[int], bits: int, layout: str) -> bytes:
    """The other way; missing bits of the last byte are 0."""
    value = 0
    if layout == "le":
        for code in reversed(codes):
            value = value << bits | code
        return value.to_bytes((len(codes) * bits + 7) // 8, "little")
    for code in codes:
        value = value << bits | code
    size = (len(codes) * bits + 7) // 8
    return (value << 8 * size - len(codes) * bits).to_bytes(size, "big")


class _Adaptive:
    """What coder and decoder have in common: predictor and quantiser that adapt by the codes alone. State runs on from block to block."""

    def __init__(self, bits: int, layout: str) -> None:
        if bits not in RATES or layout not in ("le", "be"):
            raise UsageError(f"no G.726 of {bits} bits, order {layout!r}")
        self.bits = bits
        self.layout = layout
        self.reset()

    def reset(self) -> None:
        """The state at the start and after a discontinuity (2.5, reset values)."""
        self._yu, self._yl = 544, 34816
        self._dms = self._dml = self._ap = 0
        self._a1 = self._a2 = 0
        self._b = [0] * 6
        #: DQ1 to DQ6 as (negative, exponent, mantissa), newest first
        self._dq = [(False, 0, 32)] * 6
        self._sr = [(False, 0, 32)] * 2
        self._pk1 = self._pk2 = False
        self._td = False

    def _run(self, codes: Sequence[int], sent: list[int] | None = None) -> array[int]:
        """The samples of codes. With ``sent``, the codes of samples: they are appended to it, and what a decoder makes of them comes back."""
        table = _CODES[self.bits]
        decisions = _DECISIONS[self.bits]
        top = (1 << self.bits) - 1
        floats = _FLOAT
        leak = 8  # UPB: slower leakage at 40 kbit/s
        yu, yl, dms, dml, ap = self._yu, self._yl, self._dms, self._dml, self._ap
        a1, a2 = self._a1, self._a2
        b1, b2, b3, b4, b5, b6 = self._b
        (s1, e1, m1), (s2, e2, m2), (s3, e3, m3), (s4, e4, m4), (s5, e5, m5), (s6, e6, m6) = self._dq
        (r1, f1, n1), (r2, f2, n2) = self._sr
        pk1, pk2, td = self._pk1, self._pk2, self._td
        out = array("h")
        append = out.append
        for code in codes:
            # FMULT and ACCUM: the signal estimate of the zero section SEZ and of both sections SE, twice their size here
            e, m = floats[b1 >> 2 if b1 >= 0 else -(b1 >> 2)]
            p = ((m * m1 + 48 >> 4) << 9 >> 28 - e - e1) & 32767
            sez = -p if s1 != (b1 < 0) else p
            e, m = floats[b2 >> 2 if b2 >= 0 else -(b2 >> 2)]
            p = ((m * m2 + 48 >> 4) << 9 >> 28 - e - e2) & 32767
            sez += -p if s2 != (b2 < 0) else p
            e, m = floats[b3 >> 2 if b3 >= 0 else -(b3 >> 2)]
            p = ((m * m3 + 48 >> 4) << 9 >> 28 - e - e3) & 32767
            sez += -p if s3 != (b3 < 0) else p
            e, m = floats[b4 >> 2 if b4 >= 0 else -(b4 >> 2)]
            p = ((m * m4 + 48 >> 4) << 9 >> 28 - e - e4) & 32767
            sez += -p if s4 != (b4 < 0) else p
            e, m = floats[b5 >> 2 if b5 >= 0 else -(b5 >> 2)]
            p = ((m * m5 + 48 >> 4) << 9 >> 28 - e - e5) & 32767
            sez += -p if s5 != (b5 < 0) else p
            e, m = floats[b6 >> 2 if b6 >= 0 else -(b6 >> 2)]
            p = ((m * m6 + 48 >> 4) << 9 >> 28 - e - e6) & 32767
            sez += -p if s6 != (b6 < 0) else p
            e, m = floats[a1 >> 2 if a1 >= 0 else -(a1 >> 2)]
            p = ((m * n1 + 48 >> 4) << 9 >> 28 - e - f1) & 32767
            se = sez + (-p if r1 != (a1 < 0) else p)
            e, m = floats[a2 >> 2 if a2 >= 0 else -(a2 >> 2)]
            p = ((m * n2 + 48 >> 4) << 9 >> 28 - e - f2) & 32767
            se = (se + (-p if r2 != (a2 < 0) else p)) >> 1
            sez >>= 1

            # LIMA and MIX: the scale factor Y between its fast (YU) and slow (YL) forms. seen: jt1078-s-g726-001 to -005: the
            # fraction of YL takes part in the sum, where the Recommendation cuts it off before (a difference of one step at most)
            al = 64 if ap >= 256 else ap >> 2
            y = yl + (yu - (yl >> 6)) * al >> 6

            if sent is not None:
                # SUBTA, LOG, SUBTB, QUAN: the code of the sample. The code of all zeros is not sent but at 16 kbit/s
                d = (code >> 2) - se
                size = -d if d < 0 else d
                exponent = size.bit_length() - 1 if size else 0
                dln = (exponent << 7) + ((size << 7 >> exponent) & 127) - (y >> 2)
                code = bisect_right(decisions, dln)
                if d < 0 or (not code and top > 3):
                    code = top - code
                sent.append(code)

            # RECONST, ADDA, ANTILOG: the quantised difference DQ
            negative, dqln, w, f = table[code]
            dql = dqln + (y >> 2)
            dq = 0 if dql < 0 else (128 + (dql & 127)) << 7 >> 14 - (dql >> 7 & 15)

            # TRANS: a transition of a narrow-band signal such as a modem's resets the predictor
            transition = False
            if td:
                whole = yl >> 15
                threshold = 31744 if whole > 9 else (32 + (yl >> 10 & 31)) << whole
                transition = dq > threshold + (threshold >> 1) >> 1

            # ADDB: the reconstructed signal SR; ADDC: the sign of the partly reconstructed one
            signed = -dq if negative else dq
            sr = se + signed
            pk0 = signed + sez
            still = pk0 == 0
            pk = pk0 < 0

            if transition:  # TRIGB
                a1 = a2 = b1 = b2 = b3 = b4 = b5 = b6 = 0
                td = False
                tone = False
            else:
                # UPA2, LIMC
                old = a1
                a2 -= a2 >> 7
                if not still:
                    limited = 32764 if old > 8191 else -32764 if old < -8191 else old << 2  # F(A1)
                    a2 += ((16384 if pk == pk2 else -16384) + (limited if pk != pk1 else -limited)) >> 7
                if a2 > 12288:
                    a2 = 12288
                elif a2 < -12288:
                    a2 = -12288
                # UPA1, LIMD
                a1 -= a1 >> 8
                if not still:
                    a1 += 192 if pk == pk1 else -192
                bound = 15360 - a2
                if a1 > bound:
                    a1 = bound
                elif a1 < -bound:
                    a1 = -bound
                # UPB
                if dq:
                    b1 += (128 if negative == s1 else -128) - (b1 >> leak)
                    b2 += (128 if negative == s2 else -128) - (b2 >> leak)
                    b3 += (128 if negative == s3 else -128) - (b3 >> leak)
                    b4 += (128 if negative == s4 else -128) - (b4 >> leak)
                    b5 += (128 if negative == s5 else -128) - (b5 >> leak)
                    b6 += (128 if negative == s6 else -128) - (b6 >> leak)
                else:
                    b1 -= b1 >> leak
                    b2 -= b2 >> leak
                    b3 -= b3 >> leak
                    b4 -= b4 >> leak
                    b5 -= b5 >> leak
                    b6 -= b6 >> leak
                tone = td = a2 < -11776  # TONE

            # FLOATA, FLOATB and the delays
            s6, e6, m6, s5, e5, m5, s4, e4, m4 = s5, e5, m5, s4, e4, m4, s3, e3, m3
            s3, e3, m3, s2, e2, m2, s1 = s2, e2, m2, s1, e1, m1, negative
            e1 = dq.bit_length()
            m1 = (dq << 6) >> e1 if dq else 32
            r2, f2, n2, r1 = r1, f1, n1, sr < 0
            magnitude = (-sr if sr < 0 else sr) & 32767
            f1 = magnitude.bit_length()
            n1 = (magnitude << 6) >> f1 if magnitude else 32
            pk2, pk1 = pk1, pk

            # FUNCTF, FILTA, FILTB, SUBTC, FILTC, TRIGA: how fast the scale factor follows
            dms += f - dms >> 5
            dml += (f << 2) - dml >> 7
            if transition:
                ap = 256
            else:
                spread = (dms << 2) - dml
                fast = y < 1536 or tone or (spread if spread >= 0 else -spread) >= dml >> 3
                ap += (512 if fast else 0) - ap >> 4

            # FUNCTW, FILTD, LIMB, FILTE
            yu = y + (w - y >> 5)
            if yu < 544:
                yu = 544
            elif yu > 5120:
                yu = 5120
            yl += yu + (-yl >> 6)

            sr <<= 2
            append(32767 if sr > 32767 else -32768 if sr < -32768 else sr)
        self._yu, self._yl, self._dms, self._dml, self._ap = yu, yl, dms, dml, ap
        self._a1, self._a2, self._b = a1, a2, [b1, b2, b3, b4, b5, b6]
        self._dq = [(s1, e1, m1), (s2, e2, m2), (s3, e3, m3), (s4, e4, m4), (s5, e5, m5), (s6, e6, m6)]
        self._sr = [(r1, f1, n1), (r2, f2, n2)]
        self._pk1, self._pk2, self._td = pk1, pk2, td
        return out


class Decoder(_Adaptive):
    """One stream's decoder."""

    def decode(self, data: bytes) -> bytes:
        """One block to signed 16 bit little-endian."""
        return to_bytes(self.samples(data))

    def samples(self, data: bytes) -> array[int]:
        """One block's samples."""
        return self.run(unpack(data, self.bits, self.layout))

    def run(self, codes: Sequence[int]) -> array[int]:
        """The samples of codes."""
        return self._run(codes)


class Encoder(_Adaptive):
    """One stream's coder, for talking back to a terminal."""

    def encode(self, pcm: bytes) -> bytes:
        """Signed 16 bit little-endian to one block; give it whole bytes of codes (8 samples) at a time."""
        sent: list[int] = []
        self._run(to_samples(pcm), sent)
        return pack(sent, self.bits, self.layout)


class Guess(NamedTuple):
    """What a stream seems to be."""

    bits: int  #: bits a sample
    layout: str  #: "le" or "be"
    sure: bool  #: the orders differ enough; if not, more frames would help (silence tells nothing)


def detect_bits(size: int, step_ms: int = 0) -> int:
    """Bits a sample from the bytes of a frame and the usual time between frames, ``0`` for unknown.

    40 ms frames have 80, 120, 160 or 200 bytes, 20 ms ones half; 80 bytes are 16 kbit/s at 40 ms or 32 kbit/s at 20 ms, and
    the step tells. A size of neither kind goes by the step alone, else by the nearest whole number of 5 ms at 32 kbit/s.
    """
    if step_ms > 0:
        nearest = size / step_ms  # bytes a ms: bits a sample at 8 kHz
        bits = round(nearest)
        if 2 <= bits <= 5 and abs(nearest - bits) <= 0.3:
            return bits
    by_size = {80: 2, 120: 3, 160: 4, 200: 5, 40: 2, 60: 3, 100: 5, 240: 3, 320: 4, 400: 5}
    return by_size.get(size, 4)


#: Frames compared at most, half a second of 40 ms ones: some 25 ms of work. Of a longer look the last ones are taken, and a caller
#: that adds frame by frame pays again only every ``_AGAIN`` frames.
_COMPARED = 12
_AGAIN = 6
#: Bytes of one frame that are compared: 80 ms at 40 kbit/s. Nobody sends longer ones, but a body may have 64 KiB.
_COMPARED_BYTES = 400


def detect(frames: Sequence[bytes], step_ms: int = 0) -> Guess:
    """Rate and bit order of a stream from its first frames (HiSilicon headers removed).

    Both orders are decoded; the right one leaves less unforeseen (``pcm.innovation``). With 3 and 5 bits the wrong order is plain
    noise. With 2 and 4 bits, where it swaps samples, it is only rough: half a second should be handed in before the answer is trusted,
    and silence tells nothing, so a caller that gets an unsure answer had better ask again later.
    """
    frames = [frame for frame in frames if frame]
    if not frames:
        return Guess(4, "le", False)
    bits = detect_bits(len(frames[0]), step_ms)
    frames = [frame[:_COMPARED_BYTES] for frame in frames]
    if len(frames) > _COMPARED:
        frames = frames[: len(frames) // _AGAIN * _AGAIN][-_COMPARED:]
    little, big = _compare(tuple(frames), bits)
    low, high = min(little, big), max(little, big)
    enough = 1.05 if len(frames) >= 10 else 1.2
    # "le" is what most terminals send
    return Guess(bits, "be" if big < little else "le", high > enough * low + 1.0 and len(frames) >= 3)


@lru_cache(maxsize=16)
def _compare(frames: tuple[bytes, ...], bits: int) -> tuple[float, float]:
    """What each order leaves unforeseen, "le" first."""
    unforeseen: list[float] = []
    for layout in ("le", "be"):
        decoder = Decoder(bits, layout)
        sound = array("h")
        for frame in frames:
            sound.extend(decoder.samples(frame))
        unforeseen.append(innovation(sound))
    return unforeseen[0], unforeseen[1]
