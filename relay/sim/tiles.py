"""An H.264 Constrained Baseline encoder made for drawn pictures: pure Python, and cheap because it remembers.

A picture is a grid of *tiles*, 16x16 blocks of I420 known by a number. Encoding one block with transforms costs some hundred
microseconds, so no block is ever encoded twice: its bits are kept by everything they depend on.

* IDR pictures: macroblocks of type Intra_16x16. Bits and reconstruction depend on the tile, on the reconstructed pixels above and left
  of it, and on the coefficient counts there (the contexts of CAVLC).
* P pictures: every macroblock refers to the IDR picture with a motion of zero. Where nothing changed it is skipped; elsewhere the
  difference is sent. Bits depend on the two tiles and on the coefficient counts above and left. P pictures are not reference pictures
  (nal_ref_idc 0): each is the IDR picture plus its differences, so a lost one hurts nothing else.

No deblocking, one slice a picture, one QP: what the drawing says is what comes out. ITU-T H.264, clauses 7.3, 8.3.3, 8.5, 9.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from relay.errors import UsageError
from relay.sim.cavlc import CHROMA_DC, residual, se, to_bytes, ue

START_CODE = b"\x00\x00\x00\x01"

#: bytes of a tile: 16x16 luma, then 8x8 of either chroma
TILE_BYTES = 384

#: raster position of the coefficients in scanning order
ZIGZAG = (0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15)

#: blocks of a macroblock in coding order, as (column, row) of 4x4 blocks
LUMA_ORDER = tuple((x + 2 * (b & 1), y + 2 * (b >> 1)) for b in range(4) for y in (0, 1) for x in (0, 1))
CHROMA_ORDER = ((0, 0), (1, 0), (0, 1), (1, 1))

#: table 9-4: coded_block_pattern of inter macroblocks -> codeNum
_INTER_CBP = (
    *(0, 16, 1, 2, 4, 8, 32, 3, 5, 10, 12, 15, 47, 7, 11, 13, 14, 6, 9, 31, 35, 37, 42, 44),
    *(33, 34, 36, 40, 39, 43, 45, 46, 17, 18, 20, 24, 19, 21, 26, 28, 23, 27, 29, 30, 22, 25, 38, 41),
)
CBP_CODE = {cbp: ue(code) for code, cbp in enumerate(_INTER_CBP)}

#: quantiser and its inverse by QP % 6, for the positions (even, even), (odd, odd), others
_MF = ((13107, 5243, 8066), (11916, 4660, 7490), (10082, 4194, 6554), (9362, 3647, 5825), (8192, 3355, 5243), (7282, 2893, 4559))
_V = ((10, 16, 13), (11, 18, 14), (13, 20, 16), (14, 23, 18), (16, 25, 20), (18, 29, 23))
_CLASS = tuple(0 if not (i & 1 or i >> 2 & 1) else 1 if i & 1 and i >> 2 & 1 else 2 for i in range(16))

#: Table A-1: level_idc, macroblocks a second, macroblocks a picture
_LEVELS = ((13, 11880, 396), (21, 19800, 792), (22, 20250, 1620), (30, 40500, 1620), (31, 108000, 3600), (40, 245760, 8192), (51, 983040, 36864))

#: Remembered macroblocks; a card uses a few thousand, and a bound must be somewhere. About 300 bytes each.
MEMORY = 32768


class Edges(NamedTuple):
    """What a macroblock shows its right or lower neighbour: pixels and coefficient counts."""

    luma: bytes  #: 16 pixels
    blue: bytes  #: 8 pixels
    red: bytes  #: 8 pixels
    counts: bytes  #: of the 4 luma, 2 + 2 chroma blocks along the edge


class IntraBlock(NamedTuple):
    """One encoded macroblock of an IDR picture."""

    bits: str
    tile: int  #: as a decoder sees it: what P pictures refer to
    right: int  #: number of its right edge
    bottom: int  #: number of its lower edge


class InterBlock(NamedTuple):
    """One encoded macroblock of a P picture."""

    bits: str
    right: bytes  #: coefficient counts along the right edge
    bottom: bytes


_tiles: list[bytes] = []
_tile_numbers: dict[bytes, int] = {}
_edges: list[Edges] = []
_edge_numbers: dict[Edges, int] = {}

_NOTHING = bytes(8)
#: a neighbour outside the picture
OUTSIDE = -1


def tile(pixels: bytes) -> int:
    """The number of a tile, the same for the same pixels."""
    number = _tile_numbers.get(pixels)
    if number is None:
        if len(pixels) != TILE_BYTES:
            raise UsageError(f"a tile has {TILE_BYTES} bytes, not {len(pixels)}")
        number = _tile_numbers[pixels] = len(_tiles)
        _tiles.append(pixels)
    return number


def tile_pixels(number: int) -> bytes:
    """The pixels of a tile: 256 of luma, 64 of either chroma."""
    return _tiles[number]


def _edge(edges: Edges) -> int:
    number = _edge_numbers.get(edges)
    if number is None:
        number = _edge_numbers[edges] = len(_edges)
        _edges.append(edges)
    return number


# transforms -------------------------------------------------------------------------------------------------------------------------


def _forward(d: Sequence[int]) -> list[int]:
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


def _inverse(w: Sequence[int]) -> list[int]:
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


def _hadamard4(d: Sequence[int]) -> list[int]:
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


def _hadamard2(d: Sequence[int]) -> list[int]:
    a, b, c, e = d
    return [a + b + c + e, a - b + c - e, a + b - c - e, a - b - c + e]


def _block(d: Sequence[int], stride: int, x: int, y: int) -> list[int]:
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
        return [(c * scale + half) >> down for c in _hadamard4(levels)]

    def chroma_dc(self, levels: Sequence[int]) -> list[int]:
        """Scaled chroma DC coefficients (clause 8.5.11.2)."""
        return [((c * 16 * self.v_dc) << self.shift) >> 5 for c in _hadamard2(levels)]


# macroblocks ------------------------------------------------------------------------------------------------------------------------


def _mean(*edges: bytes) -> int:
    count = sum(map(len, edges))
    return (sum(map(sum, edges)) + count // 2) // count if count else 128


def _chroma_dc_prediction(left: bytes, top: bytes) -> bytes:
    """Clause 8.3.4.1-3: each 4x4 block has its own mean; off the diagonal the nearer edge wins."""
    l0, l1, t0, t1 = left[:4], left[4:], top[:4], top[4:]
    upper = bytes((_mean(l0, t0),)) * 4 + bytes((_mean(t1 or l0),)) * 4
    lower = bytes((_mean(l1 or t0),)) * 4 + bytes((_mean(l1, t1),)) * 4
    return upper * 4 + lower * 4


def _predictions(left: bytes, top: bytes, size: int) -> list[tuple[int, bytes]]:
    """(H.264 luma mode number, pixels) of vertical, horizontal and DC; empty edges do not exist."""
    found = []
    if top:
        found.append((0, top * size))
    if left:
        found.append((1, b"".join(left[i : i + 1] * size for i in range(size))))
    if size == 16:
        found.append((2, bytes((_mean(left, top),)) * 256))
    else:
        found.append((2, _chroma_dc_prediction(left, top)))
    return found


def _distance(a: bytes, b: bytes) -> int:
    return sum(map(abs, map(int.__sub__, a, b))) if a != b else 0


def _context(left: int, top: int) -> int:
    """nC of two neighbouring counts, -1 = not there (clause 9.2.1)."""
    if left >= 0 and top >= 0:
        return (left + top + 1) >> 1
    return max(left, top, 0)


class _Counts:
    """Coefficient counts of one plane's blocks while they are written."""

    def __init__(self, side: int, left: bytes | None, top: bytes | None) -> None:
        self.grid = [[-1] * (side + 1) for _ in range(side + 1)]
        if top is not None:
            self.grid[0][1:] = list(top)
        for row in range(side):
            self.grid[row + 1][0] = left[row] if left is not None else -1

    def context(self, x: int, y: int) -> int:
        return _context(self.grid[y + 1][x], self.grid[y][x + 1])

    def set(self, x: int, y: int, count: int) -> None:
        self.grid[y + 1][x + 1] = count

    def right(self) -> list[int]:
        return [row[-1] for row in self.grid[1:]]

    def bottom(self) -> list[int]:
        return self.grid[-1][1:]


class _Counter:
    """The three planes' counts of a macroblock."""

    def __init__(self, left: bytes | None, top: bytes | None) -> None:
        def cut(edge: bytes | None, a: int, b: int) -> bytes | None:
            return None if edge is None else edge[a:b]

        self.luma = _Counts(4, cut(left, 0, 4), cut(top, 0, 4))
        self.chroma = (_Counts(2, cut(left, 4, 6), cut(top, 4, 6)), _Counts(2, cut(left, 6, 8), cut(top, 6, 8)))

    def finish(self) -> tuple[bytes, bytes]:
        """Edges; blocks that were never set are not coded and count nothing."""
        planes = (self.luma, *self.chroma)
        right = [max(c, 0) for plane in planes for c in plane.right()]
        bottom = [max(c, 0) for plane in planes for c in plane.bottom()]
        return bytes(right), bytes(bottom)


def _chroma_bits(dc: Sequence[Sequence[int]], ac: Sequence[Sequence[Sequence[int]]], cbp: int, counter: _Counter) -> list[str]:
    """Chroma residuals in the order both macroblock types have."""
    parts = []
    if cbp:
        parts += [residual(levels, CHROMA_DC) for levels in dc]
    for plane in (0, 1):
        for (x, y), levels in zip(CHROMA_ORDER, ac[plane], strict=True):
            if cbp == 2:
                parts.append(residual(levels, counter.chroma[plane].context(x, y)))
            counter.chroma[plane].set(x, y, sum(1 for c in levels if c) if cbp == 2 else 0)
    return parts


def _chroma_levels(diff: Sequence[int], quantiser: Quantiser) -> tuple[list[int], list[list[int]], list[list[int]]]:
    """(DC levels, AC levels of the four blocks in scanning order, AC levels in raster order for the reconstruction)."""
    dcs, scans, rasters = [], [], []
    for x, y in CHROMA_ORDER:
        w = _forward(_block(diff, 8, x, y))
        dcs.append(w[0])
        levels = quantiser.quantise(w)
        levels[0] = 0
        rasters.append(levels)
        scans.append([levels[i] for i in ZIGZAG[1:]])
    return quantiser.quantise_dc(_hadamard2(dcs)), scans, rasters


def _rebuild(prediction: bytes, dcs: Sequence[int], rasters: Sequence[Sequence[int]], order: Sequence[tuple[int, int]], size: int, v: Sequence[int]) -> bytes:
    """Pixels as the decoder makes them."""
    out = bytearray(prediction)
    for (x, y), dc, levels in zip(order, dcs, rasters, strict=True):
        if not dc and not any(levels):
            continue
        w = [c * s for c, s in zip(levels, v, strict=True)]
        w[0] = dc
        r = _inverse(w)
        o = 4 * (y * size + x)
        for row in range(4):
            for column in range(4):
                p = o + row * size + column
                value = out[p] + r[4 * row + column]
                out[p] = 0 if value < 0 else 255 if value > 255 else value
    return bytes(out)


@lru_cache(maxsize=MEMORY)
def encode_intra(number: int, left: int, top: int, qp: int) -> IntraBlock:
    """A macroblock of type Intra_16x16; ``left`` and ``top`` are edge numbers or ``OUTSIDE``."""
    quantiser = _quantiser(qp)
    pixels = _tiles[number]
    at_left = _edges[left] if left != OUTSIDE else None
    at_top = _edges[top] if top != OUTSIDE else None
    counter = _Counter(at_left.counts if at_left else None, at_top.counts if at_top else None)

    luma = pixels[:256]
    mode, prediction = min(_predictions(at_left.luma if at_left else b"", at_top.luma if at_top else b"", 16), key=lambda p: _distance(p[1], luma))
    diff = list(map(int.__sub__, luma, prediction))
    scans, rasters, dcs = [], [], [0] * 16
    for x, y in LUMA_ORDER:
        w = _forward(_block(diff, 16, x, y))
        dcs[4 * y + x] = w[0]
        levels = quantiser.quantise(w)
        levels[0] = 0
        rasters.append(levels)
        scans.append([levels[i] for i in ZIGZAG[1:]])
    dc_levels = quantiser.quantise_dc([(c + 1) >> 1 for c in _hadamard4(dcs)])
    scaled = quantiser.luma_dc(dc_levels)
    ac = any(any(levels) for levels in scans)
    seen_luma = _rebuild(prediction, [scaled[4 * y + x] for x, y in LUMA_ORDER], rasters, LUMA_ORDER, 16, quantiser.v)

    planes = (pixels[256:320], pixels[320:])
    lefts = (at_left.blue, at_left.red) if at_left else (b"", b"")
    tops = (at_top.blue, at_top.red) if at_top else (b"", b"")
    choices = [_predictions(lefts[i], tops[i], 8) for i in (0, 1)]
    best = min(range(len(choices[0])), key=lambda c: sum(_distance(choices[i][c][1], planes[i]) for i in (0, 1)))
    chroma = [_chroma_levels(list(map(int.__sub__, planes[i], choices[i][best][1])), quantiser) for i in (0, 1)]
    seen_chroma = [
        _rebuild(choices[i][best][1], quantiser.chroma_dc(chroma[i][0]), chroma[i][2], CHROMA_ORDER, 8, quantiser.v) for i in (0, 1)
    ]
    chroma_cbp = 2 if any(any(levels) for c in chroma for levels in c[1]) else 1 if any(any(c[0]) for c in chroma) else 0

    parts = [ue(1 + mode + 4 * chroma_cbp + (12 if ac else 0)), ue({2: 0, 1: 1, 0: 2}[choices[0][best][0]]), "1"]
    parts.append(residual([dc_levels[i] for i in ZIGZAG], counter.luma.context(0, 0)))
    for (x, y), levels in zip(LUMA_ORDER, scans, strict=True):
        if ac:
            parts.append(residual(levels, counter.luma.context(x, y)))
        counter.luma.set(x, y, sum(1 for c in levels if c))
    parts += _chroma_bits([c[0] for c in chroma], [c[1] for c in chroma], chroma_cbp, counter)
    right, bottom = counter.finish()
    blue, red = seen_chroma
    return IntraBlock(
        "".join(parts),
        tile(seen_luma + blue + red),
        _edge(Edges(seen_luma[15::16], blue[7::8], red[7::8], right)),
        _edge(Edges(seen_luma[240:], blue[56:], red[56:], bottom)),
    )


@lru_cache(maxsize=8)
def _quantiser(qp: int) -> Quantiser:
    return Quantiser(qp)


@lru_cache(maxsize=MEMORY)
def _difference(reference: int, number: int, qp: int) -> tuple[int, list[list[int]], list[list[int]], list[list[list[int]]]]:
    """coded_block_pattern and levels of what lies between two tiles: luma blocks, chroma DC, chroma AC."""
    quantiser = _quantiser(qp)
    diff = list(map(int.__sub__, _tiles[number], _tiles[reference]))
    cbp, luma = 0, []
    for order, (x, y) in enumerate(LUMA_ORDER):
        block = _block(diff, 16, x, y)
        levels = [0] * 16
        if any(block):
            raster = quantiser.quantise(_forward(block))
            levels = [raster[i] for i in ZIGZAG]
            if any(levels):
                cbp |= 1 << (order >> 2)
        luma.append(levels)
    chroma = [_chroma_levels(diff[a : a + 64], quantiser) for a in (256, 320)]
    if any(any(levels) for c in chroma for levels in c[1]):
        cbp |= 32
    elif any(any(c[0]) for c in chroma):
        cbp |= 16
    return cbp, luma, [c[0] for c in chroma], [c[1] for c in chroma]


@lru_cache(maxsize=MEMORY)
def encode_inter(reference: int, number: int, left: bytes | None, top: bytes | None, qp: int) -> InterBlock | None:
    """A macroblock of type P_L0_16x16 without motion; None where nothing is left to say and it can be skipped."""
    cbp, luma, dc, ac = _difference(reference, number, qp)
    if not cbp:
        return None
    counter = _Counter(left, top)
    # mb_type P_L0_16x16, two motion vector differences of 0, coded_block_pattern, mb_qp_delta 0
    parts = ["1", "11", CBP_CODE[cbp], "1"]
    for order, ((x, y), levels) in enumerate(zip(LUMA_ORDER, luma, strict=True)):
        coded = cbp >> (order >> 2) & 1
        if coded:
            parts.append(residual(levels, counter.luma.context(x, y)))
        counter.luma.set(x, y, sum(1 for c in levels if c) if coded else 0)
    parts += _chroma_bits(dc, ac, cbp >> 4, counter)
    return InterBlock("".join(parts), *counter.finish())


# pictures ---------------------------------------------------------------------------------------------------------------------------


def _escape(rbsp: bytes) -> bytes:
    """emulation_prevention_three_byte wherever a start code would appear."""
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", rbsp)


def nal(header: int, bits: str) -> bytes:
    """A NAL unit with its start code; ``bits`` without the stop bit."""
    return START_CODE + bytes((header,)) + _escape(to_bytes(bits))


class PictureEncoder:
    """Pictures of one size: IDR pictures, and P pictures that refer to an IDR picture."""

    def __init__(self, columns: int, rows: int, fps: int, qp: int = 22) -> None:
        self.columns = columns  #: macroblocks
        self.rows = rows
        self.qp = _quantiser(qp).qp
        self.parameter_sets = nal(0x67, _sps(columns, rows, fps)) + nal(0x68, _pps(qp))

    def idr(self, grid: Sequence[int], idr_id: int) -> tuple[bytes, list[int]]:
        """The NAL unit of an IDR picture, and its tiles as a decoder sees them; ``grid`` holds one tile a macroblock, raster order.

        ``idr_id`` must differ from that of the IDR picture before.
        """
        # first_mb_in_slice 0, slice_type 7 (I), pic_parameter_set_id 0, frame_num, idr_pic_id, pic_order_cnt_lsb,
        # no_output_of_prior_pics_flag, long_term_reference_flag, slice_qp_delta 0, disable_deblocking_filter_idc 1
        parts = [ue(0), ue(7), ue(0), "0000", ue(idr_id), "0" * 12, "00", se(0), ue(1)]
        columns, qp = self.columns, self.qp
        bottoms = [OUTSIDE] * columns
        seen = []
        column, left = 0, OUTSIDE
        for number in grid:
            block = encode_intra(number, left, bottoms[column], qp)
            parts.append(block.bits)
            seen.append(block.tile)
            bottoms[column] = block.bottom
            column += 1
            left = block.right
            if column == columns:
                column, left = 0, OUTSIDE
        return nal(0x65, "".join(parts)), seen

    def predicted(self, reference: Sequence[int], changes: Mapping[int, int], distance: int) -> bytes:
        """The NAL unit of a P picture ``distance`` pictures after the IDR picture whose tiles are ``reference``: that picture with ``changes``,
        which maps macroblocks to tiles."""
        # first_mb_in_slice 0, slice_type 5 (P), pic_parameter_set_id 0, frame_num 1, pic_order_cnt_lsb, num_ref_idx_active_override_flag,
        # ref_pic_list_modification_flag_l0, slice_qp_delta 0, disable_deblocking_filter_idc 1
        parts = [ue(0), ue(5), ue(0), "0001", f"{2 * distance:012b}", "00", se(0), ue(1)]
        columns, qp = self.columns, self.qp
        rights: dict[int, bytes] = {}
        bottoms: dict[int, bytes] = {}
        following = 0
        for index in sorted(changes):
            left = rights.get(index - 1, _NOTHING) if index % columns else None
            top = bottoms.get(index - columns, _NOTHING) if index >= columns else None
            block = encode_inter(reference[index], changes[index], left, top, qp)
            if block is None:
                continue
            parts.append(ue(index - following))  # mb_skip_run
            parts.append(block.bits)
            rights[index] = block.right
            bottoms[index] = block.bottom
            following = index + 1
        if following < columns * self.rows:
            parts.append(ue(columns * self.rows - following))
        return nal(0x01, "".join(parts))


def level_idc(columns: int, rows: int, fps: int) -> int:
    """The lowest level that allows this size at this rate."""
    size = columns * rows
    for level, a_second, a_picture in _LEVELS:
        if size <= a_picture and size * fps <= a_second and max(columns, rows) ** 2 <= 8 * a_picture:
            return level
    raise UsageError(f"{columns}x{rows} macroblocks at {fps} fps are beyond level 5.1")


def _sps(columns: int, rows: int, fps: int) -> str:
    """seq_parameter_set_rbsp: Constrained Baseline, picture order count type 0, BT.601 colours, timing, no reordering."""
    vui = "".join(
        (
            "1" + f"{1:08b}",  # aspect_ratio_info: square
            "0",  # overscan
            "1" + f"{5:03b}" + "0" + "1" + f"{6:08b}{6:08b}{6:08b}",  # video_signal_type: limited range, SMPTE 170M throughout
            "0",  # chroma_loc_info
            "1" + f"{1:032b}{2 * fps:032b}" + "1",  # timing_info: fixed frame rate
            "00" + "0",  # HRD parameters, pic_struct
            "1" + "1" + ue(0) + ue(0) + ue(11) + ue(11) + ue(0) + ue(1),  # bitstream_restriction: max_num_reorder_frames 0, one frame buffered
        )
    )
    return "".join(
        (
            f"{66:08b}",
            "11000000",  # constraint_set0_flag, constraint_set1_flag
            f"{level_idc(columns, rows, fps):08b}",
            ue(0),  # seq_parameter_set_id
            ue(0),  # log2_max_frame_num_minus4
            ue(0),  # pic_order_cnt_type
            ue(8),  # log2_max_pic_order_cnt_lsb_minus4
            ue(1),  # max_num_ref_frames
            "0",  # gaps_in_frame_num_value_allowed_flag
            ue(columns - 1),
            ue(rows - 1),
            "1",  # frame_mbs_only_flag
            "1",  # direct_8x8_inference_flag
            "0",  # frame_cropping_flag
            "1" + vui,
        )
    )


def _pps(qp: int) -> str:
    """pic_parameter_set_rbsp: CAVLC, one reference, deblocking told by each slice; its QP is the one that slice_qp_delta 0 means."""
    return "".join((ue(0), ue(0), "0", "0", ue(0), ue(0), ue(0), "0", "00", se(qp - 26), se(0), se(0), "1", "0", "0"))
