"""Reads a test card back from a decoded picture: its number and its clock. What tests and delay measurements judge by."""

from __future__ import annotations

from collections.abc import Sequence

from relay.sim.pattern import LAMP_OFF, LAMP_ON, card_layout, digit_luma


def read_number(luma: Sequence[int], width: int, height: int, stride: int = 0) -> int:
    """The number of the picture, modulo two to the number of lamps, from its luma plane."""
    layout = card_layout(width // 16, height // 16)
    stride = stride or width
    limit = (LAMP_OFF.y + LAMP_ON.y) // 2
    number = 0
    for i in range(layout.lamp_count):
        number = number << 1 | (luma[(16 * layout.lamps + 8) * stride + 16 * (layout.lamps_left + i) + 8] > limit)
    return number


def read_clock(luma: Sequence[int], width: int, height: int, stride: int = 0) -> str:
    """What the clock shows, ``HH:MM:SS.d``: of each place the character that differs least."""
    layout = card_layout(width // 16, height // 16)
    stride = stride or width
    text = ""
    for position, (left, columns) in enumerate(layout.clock_cells()):
        seen = [
            luma[(16 * layout.clock + row) * stride + 16 * left + column] for row in range(16 * layout.clock_rows) for column in range(16 * columns)
        ]
        candidates = ":" if position in (2, 5) else "." if position == 8 else "0123456789"
        text += min(candidates, key=lambda c: sum(abs(a - b) for a, b in zip(seen, digit_luma(layout, c), strict=True)))
    return text
