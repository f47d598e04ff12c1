"""Letters and digits for the test card: strokes with round ends, drawn at any size with smooth edges.

A glyph is a list of strokes in a box 6 wide and 10 high; a stroke is a list of points. The pen has the same width everywhere, so a clock
looks like a clock at 16 pixels and at 112.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

Point = tuple[float, float]


def _arc(cx: float, cy: float, rx: float, ry: float, begin: float, end: float) -> list[Point]:
    """Points of an arc; degrees, 0 = right, growing clockwise."""
    steps = max(2, round(abs(end - begin) / 15))
    angles = [math.radians(begin + (end - begin) * i / steps) for i in range(steps + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def _curve(a: Point, b: Point, c: Point) -> list[Point]:
    """Points of a quadratic curve from a to c."""
    return [
        ((1 - t) ** 2 * a[0] + 2 * t * (1 - t) * b[0] + t * t * c[0], (1 - t) ** 2 * a[1] + 2 * t * (1 - t) * b[1] + t * t * c[1])
        for t in (i / 8 for i in range(9))
    ]


_SIX = [_curve((4.6, 0), (0.4, 2.6), (0, 6.8)), _arc(3, 6.8, 3, 3.2, 180, 540)]
_ROUND = [*_arc(3, 3, 3, 3, 180, 360), *_arc(3, 7, 3, 3, 0, 180), (0, 3)]

GLYPHS: dict[str, Sequence[Sequence[Point]]] = {
    "0": [_ROUND],
    "1": [[(0.8, 2.2), (3.4, 0), (3.4, 10)]],
    "2": [[*_arc(3, 3, 3, 3, 190, 400), (0.1, 10), (6, 10)]],
    "3": [[*_arc(3, 2.5, 2.7, 2.5, 200, 450)], [*_arc(3, 7.4, 3, 2.6, 255, 520)]],
    "4": [[(4.5, 10), (4.5, 0), (0, 7.2), (6, 7.2)]],
    "5": [[(5.5, 0), (1, 0), (0.6, 4.8), *_arc(2.9, 6.9, 3.1, 3.1, 222, 510)]],
    "6": _SIX,
    "7": [[(0, 0), (6, 0), (2.2, 10)]],
    "8": [_arc(3, 2.5, 2.5, 2.5, 90, 450), _arc(3, 7.4, 3, 2.6, -90, 270)],
    "9": [[(6 - x, 10 - y) for x, y in stroke] for stroke in _SIX],
    ":": [[(3, 2.8)], [(3, 7.8)]],
    ".": [[(3, 9.6)]],
    "-": [[(1, 5.2), (5, 5.2)]],
    "/": [[(0.5, 10.5), (5.5, -0.5)]],
    "A": [[(0, 10), (3, 0), (6, 10)], [(1.1, 6.6), (4.9, 6.6)]],
    "B": [[(0.2, 5), (0.2, 0), (3, 0), *_arc(3.2, 2.4, 2.3, 2.4, -90, 90), (0.2, 4.8), (0.2, 10), (3, 10), *_arc(3.2, 7.4, 2.8, 2.6, 90, -90)]],
    "C": [[*_arc(3, 3, 3, 3, 330, 180), *_arc(3, 7, 3, 3, 180, 30)]],
    "D": [[(0.2, 0), *_arc(2.4, 3.4, 3.6, 3.4, -90, 0), *_arc(2.4, 6.6, 3.6, 3.4, 0, 90), (0.2, 10), (0.2, 0)]],
    "E": [[(5.6, 0), (0.4, 0), (0.4, 10), (5.8, 10)], [(0.4, 4.8), (4.6, 4.8)]],
    "F": [[(5.8, 0), (0.4, 0), (0.4, 10)], [(0.4, 4.8), (4.6, 4.8)]],
    "G": [[*_arc(3, 3, 3, 3, 325, 180), *_arc(3, 7, 3, 3, 180, 0), (6, 5.6), (3.6, 5.6)]],
    "H": [[(0, 0), (0, 10)], [(6, 0), (6, 10)], [(0, 4.8), (6, 4.8)]],
    "I": [[(3, 0), (3, 10)]],
    "J": [[(5, 0), (5, 7), *_arc(2.5, 7.3, 2.5, 2.7, 0, 170)]],
    "K": [[(0.3, 0), (0.3, 10)], [(5.8, 0), (0.5, 5.6)], [(2.3, 4), (6, 10)]],
    "L": [[(0.5, 0), (0.5, 10), (5.8, 10)]],
    "M": [[(0, 10), (0, 0), (3, 5.5), (6, 0), (6, 10)]],
    "N": [[(0.2, 10), (0.2, 0), (5.8, 10), (5.8, 0)]],
    "O": [_ROUND],
    "P": [[(0.3, 10), (0.3, 0), (3, 0), *_arc(3.1, 2.8, 2.7, 2.8, -90, 90), (0.3, 5.6)]],
    "Q": [_ROUND, [(3.6, 7.4), (6, 10.4)]],
    "R": [[(0.3, 10), (0.3, 0), (3, 0), *_arc(3.1, 2.7, 2.7, 2.7, -90, 90), (0.3, 5.4)], [(3, 5.4), (6, 10)]],
    "S": [[*_arc(3, 2.5, 2.8, 2.5, 335, 90), *_arc(3, 7.45, 3, 2.55, 270, 515)]],
    "T": [[(0, 0), (6, 0)], [(3, 0), (3, 10)]],
    "U": [[(0, 0), (0, 7), *_arc(3, 7, 3, 3, 180, 0), (6, 0)]],
    "V": [[(0, 0), (3, 10), (6, 0)]],
    "W": [[(-0.3, 0), (1.4, 10), (3, 4), (4.6, 10), (6.3, 0)]],
    "X": [[(0, 0), (6, 10)], [(6, 0), (0, 10)]],
    "Y": [[(0, 0), (3, 5), (6, 0)], [(3, 5), (3, 10)]],
    "Z": [[(0.3, 0), (6, 0), (0, 10), (6, 10)]],
}

#: lines of samples a row of pixels is judged by; across, coverage is exact
_LINES = 4


def _span(a: Point, b: Point, radius: float, y: float) -> tuple[float, float] | None:
    """What a pen moved from a to b covers of the line at height y: a convex shape, so one span."""
    crossings = []
    for px, py in (a, b):
        if abs(y - py) < radius:
            half = math.sqrt(radius * radius - (y - py) ** 2)
            crossings += [px - half, px + half]
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = math.hypot(dx, dy)
    if length:
        nx, ny = -dy / length * radius, dx / length * radius
        corners = [(a[0] + nx, a[1] + ny), (b[0] + nx, b[1] + ny), (b[0] - nx, b[1] - ny), (a[0] - nx, a[1] - ny)]
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            if (y0 <= y) != (y1 <= y):
                crossings.append(x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return (min(crossings), max(crossings)) if crossings else None


@lru_cache(maxsize=512)
def glyph(character: str, width: int, height: int, margin: float, pen: float) -> bytes:
    """How far each pixel of a cell is covered, 0-255; ``margin`` pixels stay empty all round, ``pen`` is the stroke's width in pixels."""
    radius = pen / 2
    sx, sy = (width - 2 * margin - pen) / 6, (height - 2 * margin - pen) / 10
    origin = margin + radius
    pairs = []
    for stroke in GLYPHS.get(character.upper(), ()):
        points = [(origin + x * sx, origin + y * sy) for x, y in stroke]
        pairs += list(pairwise(points)) if len(points) > 1 else [(points[0], points[0])]
    dot = radius * 1.3 if character in ":." else radius
    out = bytearray()
    for row in range(height):
        cover = [0.0] * width
        for line in range(_LINES):
            y = row + (line + 0.5) / _LINES
            spans = sorted(s for a, b in pairs if min(a[1], b[1]) - dot <= y <= max(a[1], b[1]) + dot and (s := _span(a, b, dot, y)))
            reached = 0.0
            for begin, end in spans:
                begin, end = max(begin, reached), min(end, width)
                if end <= begin:
                    continue
                reached = end
                first, last = int(begin), int(end)
                if first == last:
                    cover[first] += end - begin
                    continue
                cover[first] += first + 1 - begin
                for column in range(first + 1, last):
                    cover[column] += 1
                if last < width:
                    cover[last] += end - last
        out += bytes(min(255, round(c * 255 / _LINES)) for c in cover)
    return bytes(out)
