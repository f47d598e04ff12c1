"""The test card: a moving picture with a clock, and the sound that goes with it, made out of nothing but this file's drawing.

::

    +--------------------------------------+  frame in the channel's own colour; empty at the top, where players write
    |  +--------------------------------+  |
    |  |  seven bars                    |  |
    |  |  grey ramp                     |  |
    |  |  CH1                    00001  |  |  channel and end of the SIM number
    |  |      12 : 34 : 56 . 7          |  |  the time of the picture, tenths of a second
    |  |            (o)                 |  |  a ball bounces
    |  |  >>>>                          |  |  a bar sweeps
    |  +--------------------------------+  |
    |   # . # # . # …                      |  the number of the picture, binary, for machines
    +--------------------------------------+

Picture n is a function of n, the starting time, and the options: the same ones give the same bytes, in whatever order they are asked
for. Everything that moves lies on the grid of macroblocks or comes back to the same places, so that ``tiles`` has each block of it
encoded already after a few seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from relay.errors import UsageError
from relay.sim.font import glyph
from relay.sim.tiles import PictureEncoder, tile

SUB_SIZE = (352, 288)
MAIN_SIZE = (640, 352)


class Colour(NamedTuple):
    """Limited-range BT.601."""

    y: int
    u: int
    v: int


def colour(red: int, green: int, blue: int) -> Colour:
    """8-bit RGB as Y'CbCr."""
    y = 16 + (65.738 * red + 129.057 * green + 25.064 * blue) / 256
    u = 128 + (-37.945 * red - 74.494 * green + 112.439 * blue) / 256
    v = 128 + (112.439 * red - 94.154 * green - 18.285 * blue) / 256
    return Colour(round(y), round(u), round(v))


#: the frame's colours, told apart at a glance; channel 1 has the first one
HUES = tuple(
    colour(*rgb)
    for rgb in ((0, 108, 122), (190, 92, 20), (104, 66, 172), (44, 126, 58), (176, 40, 58), (34, 84, 178), (172, 48, 132), (126, 118, 24))
)
#: white, yellow, cyan, green, magenta, red, blue at 75 %
BARS = tuple(colour(191 * r, 191 * g, 191 * b) for r, g, b in ((1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)))
PANEL = Colour(26, 128, 128)
LINES = Colour(44, 128, 128)
INK = Colour(235, 128, 128)
BALL = Colour(200, 112, 146)
LAMP_ON = Colour(210, 128, 128)
LAMP_OFF = Colour(58, 128, 128)

#: the sweeping bar with its tail: luma in steps of four pixels, so that every block of it is flat
_SWEEP = (40, 54, 72, 96, 128, 168, 215, 215)
_SWEEP_STEP = 8  #: pixels a picture
_BALL_PERIOD_S = 4
_LAMPS = 16


class Canvas:
    """An I420 picture to draw the still parts on."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.y = bytearray(width * height)
        self.u = bytearray(width * height // 4)
        self.v = bytearray(width * height // 4)

    def fill(self, left: int, top: int, right: int, bottom: int, paint: Colour) -> None:
        """A rectangle; even numbers."""
        for row in range(top, bottom):
            start = row * self.width + left
            self.y[start : start + right - left] = bytes((paint.y,)) * (right - left)
        half = self.width // 2
        for row in range(top // 2, bottom // 2):
            start, count = row * half + left // 2, (right - left) // 2
            self.u[start : start + count] = bytes((paint.u,)) * count
            self.v[start : start + count] = bytes((paint.v,)) * count

    def print(self, text: str, left: int, top: int, width: int, height: int, ink: Colour) -> None:
        """Text in cells of the given size over what is there."""
        for character in text:
            cover = glyph(character, width, height, max(1, width // 8), max(2.0, width / 7))
            for row in range(height):
                start = (top + row) * self.width + left
                self.y[start : start + width] = bytes(
                    below + (ink.y - below) * c // 255
                    for below, c in zip(self.y[start : start + width], cover[row * width : (row + 1) * width], strict=True)
                )
            half = self.width // 2
            for row in range(height // 2):
                for column in range(width // 2):
                    o = 2 * row * width + 2 * column
                    c = (cover[o] + cover[o + 1] + cover[o + width] + cover[o + width + 1]) // 4
                    if c:
                        p = (top // 2 + row) * half + left // 2 + column
                        self.u[p] += (ink.u - self.u[p]) * c // 255
                        self.v[p] += (ink.v - self.v[p]) * c // 255
            left += width

    def tiles(self) -> list[int]:
        """The picture as numbers of tiles, raster order."""
        grid = []
        half = self.width // 2
        for top in range(0, self.height, 16):
            for left in range(0, self.width, 16):
                luma = b"".join(self.y[(top + r) * self.width + left : (top + r) * self.width + left + 16] for r in range(16))
                o = top // 2 * half + left // 2
                blue = b"".join(self.u[o + r * half : o + r * half + 8] for r in range(8))
                red = b"".join(self.v[o + r * half : o + r * half + 8] for r in range(8))
                grid.append(tile(luma + blue + red))
        return grid


class Layout:
    """What lies where on a card of a size; all numbers are macroblocks."""

    def __init__(self, columns: int, rows: int) -> None:
        if columns < 10 or rows < 9:
            raise UsageError(f"{columns * 16}x{rows * 16} is too small for the test card: at least 160x144")
        self.columns = columns
        self.rows = rows
        self.border = 1 if columns >= 14 else 0
        self.inner = columns - 2 * self.border
        digit = 1
        while 7 * (digit + 1) + 3 * max(1, (digit + 1) // 2) <= self.inner and round(1.5 * (digit + 1)) <= rows // 4:
            digit += 1
        self.digit = digit  #: width of a digit
        self.point = max(1, digit // 2)  #: width of a colon
        self.clock_rows = max(2, round(1.5 * digit))
        self.label_rows = 2 if rows >= 14 else 1
        left_over = rows - self.label_rows - self.clock_rows - 4
        self.bars = 1  #: first row
        self.ramp = self.bars + (left_over + 1) // 2
        self.label = self.ramp + 1
        self.clock = self.label + self.label_rows
        self.arena = self.clock + self.clock_rows
        self.sweep = rows - 2
        self.lamps = rows - 1
        self.arena_rows = self.sweep - self.arena
        self.clock_left = self.border + (self.inner - 7 * digit - 3 * self.point) // 2
        self.lamp_count = min(_LAMPS, self.inner)
        self.lamps_left = (columns - self.lamp_count) // 2

    def clock_cells(self) -> list[tuple[int, int]]:
        """(first column, width) of the ten characters."""
        cells, left = [], self.clock_left
        for character in "00:00:00.0":
            width = self.digit if character == "0" else self.point
            cells.append((left, width))
            left += width
        return cells


@lru_cache(maxsize=16)
def card_layout(columns: int, rows: int) -> Layout:
    """The one layout of a size."""
    return Layout(columns, rows)


def _pen(layout: Layout) -> tuple[float, float]:
    """Margin and stroke of the clock's digits, pixels: whole blocks of four stay empty at the rim, so neighbours do not touch."""
    width = 16 * layout.digit
    return (4.0, max(2.5, width / 6.5)) if width > 16 else (1.0, 2.6)


def digit_luma(layout: Layout, character: str) -> bytes:
    """The luma of one cell of the clock."""
    margin, pen = _pen(layout)
    narrow = character in ":."
    cover = glyph(character, 16 * (layout.point if narrow else layout.digit), 16 * layout.clock_rows, 1.0 if narrow else margin, pen)
    return bytes(PANEL.y + (INK.y - PANEL.y) * c // 255 for c in cover)


@lru_cache(maxsize=256)
def _digit_tiles(layout: Layout, character: str) -> tuple[int, ...]:
    canvas = Canvas(16 * (layout.point if character in ":." else layout.digit), 16 * layout.clock_rows)
    canvas.y[:] = digit_luma(layout, character)
    canvas.u[:] = canvas.v[:] = bytes((128,)) * len(canvas.u)
    return tuple(canvas.tiles())


@lru_cache(maxsize=8)
def _ball(radius: int) -> tuple[bytes, bytes]:
    """Luma and coverage of a ball lit from the upper left, (2 r + 2) pixels square."""
    size = 2 * radius + 2
    luma, cover = bytearray(size * size), bytearray(size * size)
    for row in range(size):
        for column in range(size):
            x, y = (column + 0.5 - size / 2) / radius, (row + 0.5 - size / 2) / radius
            distance = math.hypot(x, y)
            if distance >= 1 + 1 / radius:
                continue
            z = math.sqrt(max(0.0, 1 - min(distance, 1) ** 2))
            light = max(0.0, -0.45 * x - 0.6 * y + 0.66 * z)
            shine = max(0.0, 2 * light * z - 0.66) ** 12
            luma[row * size + column] = min(235, round(70 + 130 * light + 60 * shine))
            cover[row * size + column] = min(255, max(0, round(255 * (0.5 + (1 - distance) * radius))))
    return bytes(luma), bytes(cover)


#: graph paper: every macroblock of the arena is the same
_PAPER = tuple(LINES.y if not row or not column else PANEL.y for row in range(16) for column in range(16))


@lru_cache(maxsize=4096)
def _ball_tile(radius: int, x: int, y: int) -> int:
    """One macroblock of the arena with a ball whose square begins at (x, y) relative to it."""
    luma, cover = _ball(radius)
    size = 2 * radius + 2
    out = bytearray(_PAPER)
    covered = bytearray(256)
    for row in range(max(0, y), min(16, y + size)):
        base = (row - y) * size - x
        for column in range(max(0, x), min(16, x + size)):
            c = cover[base + column]
            if c:
                p = 16 * row + column
                covered[p] = c
                out[p] += (luma[base + column] - out[p]) * c // 255
    blue, red = bytearray(64), bytearray(64)
    for p in range(64):
        o = 32 * (p >> 3) + 2 * (p & 7)
        c = (covered[o] + covered[o + 1] + covered[o + 16] + covered[o + 17]) // 4
        blue[p] = PANEL.u + (BALL.u - PANEL.u) * c // 255
        red[p] = PANEL.v + (BALL.v - PANEL.v) * c // 255
    return tile(bytes(out) + bytes(blue) + bytes(red))


def _flat(luma: Sequence[int], paint: Colour) -> int:
    """A tile of columns, their chroma that of ``paint`` where they are bright."""
    chroma = [[paint[plane] if luma[2 * c] > PANEL.y else 128 for c in range(8)] for plane in (1, 2)]
    return tile(bytes(luma) * 16 + bytes(chroma[0]) * 8 + bytes(chroma[1]) * 8)


def _lamp_tiles(hue: Colour) -> tuple[int, int]:
    """A lamp that is off, and one that is on, in the frame's colour."""
    tiles = []
    for lamp in (LAMP_OFF, LAMP_ON):
        canvas = Canvas(16, 16)
        canvas.fill(0, 0, 16, 16, hue)
        canvas.fill(4, 4, 12, 12, lamp)
        tiles += canvas.tiles()
    return tiles[0], tiles[1]


class Pattern:
    """A test card's pictures, as H.264 access units in Annex B."""

    def __init__(
        self,
        width: int = SUB_SIZE[0],
        height: int = SUB_SIZE[1],
        fps: int = 25,
        *,
        channel: int = 1,
        sim: str = "",
        started: float = 0.0,
        utc_offset_s: int = 28800,
        gop_s: float = 2.0,
        hue: int | None = None,
        qp: int = 22,
    ) -> None:
        """``started``: seconds since 1970 of picture 0, what the clock shows with ``utc_offset_s`` (the standards' own GMT+8);
        ``hue``: which of ``HUES``, by default the channel's."""
        if width % 16 or height % 16:
            raise UsageError(f"{width}x{height}: width and height of the test card are multiples of 16")
        self.width = width
        self.height = height
        self.fps = fps
        self.started = started
        self.utc_offset_s = utc_offset_s
        self.gop = max(1, min(1000, round(gop_s * fps)))  #: pictures from one IDR picture to the next
        self.layout = card_layout(width // 16, height // 16)
        self.hue = HUES[(channel - 1 if hue is None else hue) % len(HUES)]
        self._encoder = PictureEncoder(width // 16, height // 16, fps, qp)
        self._static = self._draw(channel, sim)
        self._cells: dict[tuple[int, str], dict[int, int]] = {}
        self._lamp = _lamp_tiles(self.hue)
        self._balls: dict[int, dict[int, int]] = {}
        self._sweeps: dict[int, dict[int, int]] = {}
        self._idr_number = -1
        self._idr_grid: list[int] = []
        self._idr_text = ""
        self._idr_moving: Mapping[int, int] = {}
        self._reference: list[int] = []
        self._idr_unit = b""

    @property
    def parameter_sets(self) -> bytes:
        """SPS and PPS, Annex B; every IDR picture begins with them."""
        return self._encoder.parameter_sets

    def is_key(self, n: int) -> bool:
        """Whether picture n is an IDR picture."""
        return n % self.gop == 0

    def frame(self, n: int) -> bytes:
        """The access unit of picture n."""
        first = n - n % self.gop
        if self._idr_number != first:
            self._encode_idr(first)
        if n == first:
            return self._encoder.parameter_sets + self._idr_unit
        moving = self._moving(n)
        source = self._idr_grid
        changes = {index: self._static[index] for index in self._idr_moving if index not in moving}
        for index, number in moving.items():
            if source[index] != number:
                changes[index] = number
        for position, character in enumerate(self.clock(n)):
            if character != self._idr_text[position]:
                changes.update(self._cell(position, character))
        return self._encoder.predicted(self._reference, changes, n - first)

    def clock(self, n: int) -> str:
        """What the clock shows in picture n."""
        tenths = math.floor((self.started + self.utc_offset_s) * 10 + n * 10 / self.fps + 1e-6)
        seconds, tenth = divmod(tenths, 10)
        return f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{tenth}"

    # what moves -----------------------------------------------------------------------------------------------------------------

    def _encode_idr(self, n: int) -> None:
        grid = self._static.copy()
        text = self.clock(n)
        for position, character in enumerate(text):
            for index, number in self._cell(position, character).items():
                grid[index] = number
        moving = self._moving(n)
        for index, number in moving.items():
            grid[index] = number
        self._idr_unit, self._reference = self._encoder.idr(grid, n // self.gop & 1)
        self._idr_number, self._idr_grid, self._idr_text, self._idr_moving = n, grid, text, moving

    def _cell(self, position: int, character: str) -> dict[int, int]:
        """The macroblocks of one character of the clock."""
        found = self._cells.get((position, character))
        if found is None:
            layout = self.layout
            left, width = layout.clock_cells()[position]
            tiles = _digit_tiles(layout, character)
            found = {(layout.clock + i // width) * layout.columns + left + i % width: number for i, number in enumerate(tiles)}
            self._cells[position, character] = found
        return found

    def _moving(self, n: int) -> dict[int, int]:
        """The macroblocks of ball, bar and lamps in picture n, and their tiles."""
        layout = self.layout
        phase = n % (_BALL_PERIOD_S * self.fps)
        ball = self._balls.get(phase)
        if ball is None:
            ball = self._balls[phase] = self._place_ball(phase)
        turns = (16 * layout.inner + 4 * len(_SWEEP)) // _SWEEP_STEP
        phase = n % turns
        sweep = self._sweeps.get(phase)
        if sweep is None:
            sweep = self._sweeps[phase] = self._place_sweep(phase)
        moving = {**ball, **sweep}
        first = layout.lamps * layout.columns + layout.lamps_left
        for i in range(layout.lamp_count):
            moving[first + i] = self._lamp[n >> (layout.lamp_count - 1 - i) & 1]
        return moving

    def _place_ball(self, phase: int) -> dict[int, int]:
        layout = self.layout
        radius = min(40, 16 * layout.arena_rows // 4)
        size = 2 * radius + 2
        t = phase / self.fps
        x = round((16 * layout.inner - size) / 2 * (1 + 0.94 * math.cos(2 * math.pi * t / _BALL_PERIOD_S)))
        y = round((16 * layout.arena_rows - size) * (2 * (t % 1) - 1) ** 2)
        found = {}
        for row in range(y // 16, (y + size - 1) // 16 + 1):
            for column in range(x // 16, (x + size - 1) // 16 + 1):
                index = (layout.arena + row) * layout.columns + layout.border + column
                number = _ball_tile(radius, x - 16 * column, y - 16 * row)
                if number != self._static[index]:
                    found[index] = number
        return found

    def _place_sweep(self, phase: int) -> dict[int, int]:
        layout = self.layout
        left = phase * _SWEEP_STEP - 4 * len(_SWEEP)
        found = {}
        for column in range(max(0, left // 16), min(layout.inner, (left + 4 * len(_SWEEP) - 1) // 16 + 1)):
            luma = []
            for x in range(0, 16, 4):
                step = (16 * column + x - left) // 4
                luma += [_SWEEP[step] if 0 <= step < len(_SWEEP) else PANEL.y] * 4
            found[layout.sweep * layout.columns + layout.border + column] = _flat(luma, self.hue)
        return found

    # what stays -----------------------------------------------------------------------------------------------------------------

    def _draw(self, channel: int, sim: str) -> list[int]:
        layout = self.layout
        canvas = Canvas(self.width, self.height)
        left, right = 16 * layout.border, self.width - 16 * layout.border
        canvas.fill(0, 0, self.width, self.height, self.hue)
        edges = [left + (right - left) * i // 14 * 2 for i in range(8)]
        for paint, begin, end in zip(BARS, edges, edges[1:], strict=False):
            canvas.fill(begin, 16 * layout.bars, end, 16 * layout.ramp, paint)
        canvas.fill(edges[-1], 16 * layout.bars, right, 16 * layout.ramp, BARS[-1])
        for x in range(left, right, 2):
            grey = 16 + 219 * (x - left) // (right - left - 2)
            canvas.fill(x, 16 * layout.ramp, x + 2, 16 * layout.label, Colour(grey, 128, 128))
        canvas.fill(left, 16 * layout.label, right, 16 * layout.lamps, PANEL)
        self._write_label(canvas, f"CH{channel}", sim, left, right)
        for y in range(16 * layout.arena, 16 * layout.sweep):
            start = y * self.width + left
            canvas.y[start : start + right - left] = bytes(_PAPER[16 * (y % 16) : 16 * (y % 16) + 16]) * layout.inner
        return canvas.tiles()

    def _write_label(self, canvas: Canvas, name: str, sim: str, left: int, right: int) -> None:
        layout = self.layout
        height, top, inset = (24, 16 * layout.label + 4, 16) if layout.label_rows == 2 else (16, 16 * layout.label, 0)
        ink = Colour(200, self.hue.u, self.hue.v)
        room = (right - left - 2 * inset) // 16 - len(name) - 1
        canvas.print(name, left + inset, top, 16, height, ink)
        tail = sim[-min(8, room) :] if room > 0 else ""
        canvas.print(tail, right - inset - 16 * len(tail), top, 16, height, ink)
