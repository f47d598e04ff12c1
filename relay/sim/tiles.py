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

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from relay.errors import UsageError
from relay.sim.cavlc import CHROMA_DC, residual, se, ue
from relay.sim.parameter_sets import nal, pps, sps
from relay.sim.transform import Quantiser, block, forward, hadamard2, hadamard4, inverse, quantiser_of

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
        w = forward(block(diff, 8, x, y))
        dcs.append(w[0])
        levels = quantiser.quantise(w)
        levels[0] = 0
        rasters.append(levels)
        scans.append([levels[i] for i in ZIGZAG[1:]])
    return quantiser.quantise_dc(hadamard2(dcs)), scans, rasters


def _rebuild(prediction: bytes, dcs: Sequence[int], rasters: Sequence[Sequence[int]], order: Sequence[tuple[int, int]], size: int, v: Sequence[int]) -> bytes:
    """Pixels as the decoder makes them."""
    out = bytearray(prediction)
    for (x, y), dc, levels in zip(order, dcs, rasters, strict=True):
        if not dc and not any(levels):
            continue
        w = [c * s for c, s in zip(levels, v, strict=True)]
        w[0] = dc
        r = inverse(w)
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
    quantiser = quantiser_of(qp)
    pixels = _tiles[number]
    at_left = _edges[left] if left != OUTSIDE else None
    at_top = _edges[top] if top != OUTSIDE else None
    counter = _Counter(at_left.counts if at_left else None, at_top.counts if at_top else None)

    luma = pixels[:256]
    mode, prediction = min(_predictions(at_left.luma if at_left else b"", at_top.luma if at_top else b"", 16), key=lambda p: _distance(p[1], luma))
    diff = list(map(int.__sub__, luma, prediction))
    scans, rasters, dcs = [], [], [0] * 16
    for x, y in LUMA_ORDER:
        w = forward(block(diff, 16, x, y))
        dcs[4 * y + x] = w[0]
        levels = quantiser.quantise(w)
        levels[0] = 0
        rasters.append(levels)
        scans.append([levels[i] for i in ZIGZAG[1:]])
    dc_levels = quantiser.quantise_dc([(c + 1) >> 1 for c in hadamard4(dcs)])
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


@lru_cache(maxsize=MEMORY)
def _difference(reference: int, number: int, qp: int) -> tuple[int, list[list[int]], list[list[int]], list[list[list[int]]]]:
    """coded_block_pattern and levels of what lies between two tiles: luma blocks, chroma DC, chroma AC."""
    quantiser = quantiser_of(qp)
    diff = list(map(int.__sub__, _tiles[number], _tiles[reference]))
    cbp, luma = 0, []
    for order, (x, y) in enumerate(LUMA_ORDER):
        difference = block(diff, 16, x, y)
        levels = [0] * 16
        if any(difference):
            raster = quantiser.quantise(forward(difference))
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


class PictureEncoder:
    """Pictures of one size: IDR pictures, and P pictures that refer to an IDR picture."""

    def __init__(self, columns: int, rows: int, fps: int, qp: int = 22) -> None:
        self.columns = columns  #: macroblocks
        self.rows = rows
        self.qp = quantiser_of(qp).qp
        self.parameter_sets = nal(0x67, sps(columns, rows, fps)) + nal(0x68, pps(qp))

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
            made = encode_intra(number, left, bottoms[column], qp)
            parts.append(made.bits)
            seen.append(made.tile)
            bottoms[column] = made.bottom
            column += 1
            left = made.right
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
            made = encode_inter(reference[index], changes[index], left, top, qp)
            if made is None:
                continue
            parts.append(ue(index - following))  # mb_skip_run
            parts.append(made.bits)
            rights[index] = made.right
            bottoms[index] = made.bottom
            following = index + 1
        if following < columns * self.rows:
            parts.append(ue(columns * self.rows - following))
        return nal(0x01, "".join(parts))
