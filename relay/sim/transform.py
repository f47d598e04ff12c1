"""H.264's integer transforms and the scaling of their coefficients (ITU-T H.264 clause 8.5), as an encoder needs them: both ways."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from relay.errors import UsageError

#: quantiser and its inverse by QP % 6, for the positions (even, even), (odd, odd), others
_MF = ((13107, 5243, 8066), (11916, 4660, 7490), (10082, 4194, 6554), (9362, 3647, 5825), (8192, 3355, 5243), (7282, 2893, 4559))
_V = ((10, 16, 13), (11, 18, 14), (13, 20, 16), (14, 23, 18), (16, 25, 20), (18, 29, 23))
_CLASS = tuple(0 if not (i & 1 or i >> 2 & 1) else 1 if i & 1 and i >> 2 & 1 else 2 for i in range(16))


def forward(d: Sequence[int]) -> list[int]:
    """The 4x4 core transform (clause 8.5, the encoder's side of it)."""
    rows = []
    for i in (0, 4, 8, 12):
        a, b, c, e = d[i], d[i + 1], d[i + 2], d[i + 3]
        s, t, u, v = a + e, b + c, b - c, a - e
        rows += [s + t, 2 * v + u, s - t, v - 2 * u]
    out = [0] * 16
    for i in (0, 1, 2, 3):
        a, b, c, e = rows[i], rows[i + 4], rows[i + 8], rows[i + 12]
        s, t, u, v = a + e, b + c, b - c, a - e
        out[i], out[i + 4], out[i + 8], out[i + 12] = s + t, 2 * v + u, s - t, v - 2 * u
    return out


def inverse(w: Sequence[int]) -> list[int]:
    """Residual pixels of scaled coefficients (clause 8.5.12.2)."""
    rows = []
    for i in (0, 4, 8, 12):
        a, b, c, e = w[i], w[i + 1], w[i + 2], w[i + 3]
        s, t, u, v = a + c, a - c, (b >> 1) - e, b + (e >> 1)
        rows += [s + v, t + u, t - u, s - v]
    out = [0] * 16
    for i in (0, 1, 2, 3):
        a, b, c, e = rows[i], rows[i + 4], rows[i + 8], rows[i + 12]
        s, t, u, v = a + c, a - c, (b >> 1) - e, b + (e >> 1)
        out[i], out[i + 4], out[i + 8], out[i + 12] = (s + v + 32) >> 6, (t + u + 32) >> 6, (t - u + 32) >> 6, (s - v + 32) >> 6
    return out


def hadamard4(d: Sequence[int]) -> list[int]:
    """The second transform of Intra_16x16's luma DC coefficients."""
    rows = []
    for i in (0, 4, 8, 12):
        a, b, c, e = d[i], d[i + 1], d[i + 2], d[i + 3]
        s, t, u, v = a + e, b + c, b - c, a - e
        rows += [s + t, v + u, s - t, v - u]
    out = [0] * 16
    for i in (0, 1, 2, 3):
        a, b, c, e = rows[i], rows[i + 4], rows[i + 8], rows[i + 12]
        s, t, u, v = a + e, b + c, b - c, a - e
        out[i], out[i + 4], out[i + 8], out[i + 12] = s + t, v + u, s - t, v - u
    return out


def hadamard2(d: Sequence[int]) -> list[int]:
    """The second transform of chroma DC coefficients."""
    a, b, c, e = d
    return [a + b + c + e, a - b + c - e, a + b - c - e, a - b - c + e]


def block(d: Sequence[int], stride: int, x: int, y: int) -> list[int]:
    """16 values of the 4x4 block at block column x and row y."""
    o = 4 * (y * stride + x)
    return [*d[o : o + 4], *d[o + stride : o + stride + 4], *d[o + 2 * stride : o + 2 * stride + 4], *d[o + 3 * stride : o + 3 * stride + 4]]


class Quantiser:
    """Scaling by one QP: up to 29 luma and chroma have the same; below 12 a level could be larger than Baseline can write."""

    def __init__(self, qp: int) -> None:
        if not 12 <= qp <= 29:
            raise UsageError(f"QP {qp} is not in 12-29")
        self.qp = qp
        self.shift = qp // 6
        self.qbits = 15 + self.shift
        self.mf = tuple(_MF[qp % 6][c] for c in _CLASS)
        self.v = tuple(_V[qp % 6][c] << self.shift for c in _CLASS)
        self.mf_dc = _MF[qp % 6][0]
        self.v_dc = _V[qp % 6][0]

    def quantise(self, w: Sequence[int]) -> list[int]:
        """Levels of coefficients, raster order."""
        f, q = (1 << self.qbits) // 3, self.qbits
        return [(c * m + f) >> q if c >= 0 else -((-c * m + f) >> q) for c, m in zip(w, self.mf, strict=True)]

    def quantise_dc(self, w: Sequence[int]) -> list[int]:
        """Levels of coefficients that went through a second transform."""
        f, q, m = (2 << self.qbits) // 3, self.qbits + 1, self.mf_dc
        return [(c * m + f) >> q if c >= 0 else -((-c * m + f) >> q) for c in w]

    def luma_dc(self, levels: Sequence[int]) -> list[int]:
        """Scaled luma DC coefficients of Intra_16x16 (clause 8.5.10)."""
        scale, down, half = 16 * self.v_dc, 6 - self.shift, 1 << (5 - self.shift)
        return [(c * scale + half) >> down for c in hadamard4(levels)]

    def chroma_dc(self, levels: Sequence[int]) -> list[int]:
        """Scaled chroma DC coefficients (clause 8.5.11.2)."""
        return [((c * 16 * self.v_dc) << self.shift) >> 5 for c in hadamard2(levels)]


@lru_cache(maxsize=8)
def quantiser_of(qp: int) -> Quantiser:
    """The one quantiser of a QP."""
    return Quantiser(qp)
