"""Lines over time for a terminal: dots of braille, two by four in each character."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

Points = Sequence[tuple[float, float]]  # (UTC epoch seconds, value), ascending; NaN and infinities are gaps

HEIGHT: Final = 12
COLOURS: Final = (36, 33, 35, 32, 31, 34, 96, 93)  # of ANSI, told apart on dark and on light
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BARS: Final = "▁▂▃▄▅▆▇█"


class Scale(Struct, frozen=True, kw_only=True):
    """What the edges of a chart stand for."""

    begin_s: float
    end_s: float
    low: float
    high: float


def scale_of(lines: Sequence[Points], begin_s: float, end_s: float) -> Scale:
    """Room for every finite value; a flat line lies in the middle, a count begins at zero."""
    values = [value for line in lines for _, value in line if math.isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low > 0 and low < high / 2:
        low = 0.0
    if low == high:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    return Scale(begin_s=begin_s, end_s=max(end_s, begin_s + 1e-3), low=low, high=high)


def chart(lines: Sequence[Points], scale: Scale, width: int, *, colour: bool) -> list[str]:
    """The lines as rows of text of at most ``width`` characters, with both axes."""
    ticks = [number(scale.high), number((scale.high + scale.low) / 2), number(scale.low)]
    margin = max(map(len, ticks))
    columns = max(8, width - margin - 2)
    dots: dict[tuple[int, int], int] = {}
    owner: dict[tuple[int, int], int] = {}
    for place, line in enumerate(lines):
        for x, y in _drawn(line, scale, columns):
            cell = (y // 4, x // 2)
            dots[cell] = dots.get(cell, 0) | _DOTS[x % 2][y % 4]
            owner[cell] = place
    labels = {0: ticks[0], HEIGHT // 2: ticks[1], HEIGHT - 1: ticks[2]}
    rows = []
    for row in range(HEIGHT):
        cells = "".join(
            _coloured(chr(0x2800 + dots[row, column]), owner[row, column], colour)
            if (row, column) in dots
            else " "
            for column in range(columns)
        )
        rows.append(f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}{cells}".rstrip())
    rows.append(" " * (margin + 1) + "└" + "─" * columns)
    begin, end = _when(scale.begin_s, scale), _when(scale.end_s, scale)
    rows.append(" " * (margin + 2) + begin + end.rjust(max(1, columns - len(begin))))
    return rows


def spark(line: Points, scale: Scale, width: int) -> str:
    """One line as a row of bars; a gap is a space."""
    cells = [" "] * width
    span = scale.end_s - scale.begin_s
    for at_s, value in line:
        if math.isfinite(value):
            place = max(0, min(width - 1, int((at_s - scale.begin_s) / span * width)))
            share = (value - scale.low) / (scale.high - scale.low)
            cells[place] = _BARS[max(0, min(7, int(share * 8)))]
    return "".join(cells)


def legend(place: int, text: str, *, colour: bool) -> str:
    """A line's name beside its mark."""
    return f"{_coloured('━━', place, colour)} {text}"


def number(value: float) -> str:
    """A number for people: at most five digits, or a power of ten.

    >>> number(1234567.0), number(0.25), number(12.0)
    ('1.2346e+06', '0.25', '12')
    """
    return f"{value:.5g}"


def _drawn(line: Points, scale: Scale, columns: int) -> list[tuple[int, int]]:
    wide, high = columns * 2 - 1, HEIGHT * 4 - 1
    found: list[tuple[int, int]] = []
    before: tuple[int, int] | None = None
    for at_s, value in line:
        if not math.isfinite(value):
            before = None
            continue
        x = round((at_s - scale.begin_s) / (scale.end_s - scale.begin_s) * wide)
        y = round((scale.high - value) / (scale.high - scale.low) * high)
        now = (max(0, min(wide, x)), max(0, min(high, y)))
        found += [now] if before is None else _between(before, now)
        before = now
    return found


def _between(one: tuple[int, int], other: tuple[int, int]) -> list[tuple[int, int]]:
    steps = max(abs(other[0] - one[0]), abs(other[1] - one[1]), 1)
    return [
        (
            round(one[0] + (other[0] - one[0]) * i / steps),
            round(one[1] + (other[1] - one[1]) * i / steps),
        )
        for i in range(steps + 1)
    ]


def _when(at_s: float, scale: Scale) -> str:
    at = datetime.fromtimestamp(at_s, UTC)
    return f"{at:%Y-%m-%d %H:%M}Z" if scale.end_s - scale.begin_s > 86_400 else f"{at:%H:%M:%S}Z"


def _coloured(text: str, place: int, colour: bool) -> str:
    return f"\x1b[{COLOURS[place % len(COLOURS)]}m{text}\x1b[0m" if colour else text
