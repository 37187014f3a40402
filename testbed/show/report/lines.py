"""The lines of figures, as SVG paths in units of the data.

A figure's view box is as wide as the data and 1 high; it is stretched to the size that it has on the page, its strokes
are not. So a figure fits any screen, and the script reads values off the paths that are drawn.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

COLUMNS: Final = 300
"""The number of columns that a line is thinned out to. A column is about one pixel wide on a phone."""

Steps = Sequence[tuple[float, float]]
"""A value that changes in steps: times, and the values from then on."""


def thinned(steps: Steps, end: float) -> Iterator[tuple[float, float]]:
    """The first, least, largest and last value of each column, so every visible peak is kept.

    (M4: Jugel, Jerzak, Hackenbroich and Markl, VLDB 2014.)
    """
    width = end / COLUMNS or 1.0
    for _, group in groupby(steps, key=lambda step: int(step[0] / width)):
        column = list(group)
        if len(column) > 4:
            t, values = column[0][0], [value for _, value in column]
            column = [(t, value) for value in (values[0], min(values), max(values), values[-1])]
        yield from column


def step_path(steps: Steps, end: float) -> str:
    """The path of a value that changes in steps, until ``end``. The value is 0 before the first step and at the end."""
    decimals = _decimals(end)
    parts, last = ["M0 0"], "0"
    for t, value in thinned(steps, end):
        written = f"{value:.4g}"
        if written != last:
            parts.append(f"H{min(t, end):.{decimals}f}V{written}")
            last = written
    return "".join([*parts, f"H{end:.{decimals}f}V0"])


def line_path(points: Sequence[tuple[float, float]]) -> str:
    """The path from point to point."""
    return f"M{'L'.join(f'{x:.5g} {y:.4g}' for x, y in points)}" if points else ""


def area_path(lower: Sequence[float], upper: Sequence[float]) -> str:
    """The path around the area between two lines, whose points are at 0, 1, 2 and so on."""
    forth = [f"{x} {y:.4g}" for x, y in enumerate(upper)]
    back = [f"{x} {y:.4g}" for x, y in reversed(list(enumerate(lower)))]
    return f"M{'L'.join([*forth, *back])}Z"


def _decimals(end: float) -> int:
    """The decimals that resolve a tenth of a column."""
    return max(0, math.ceil(math.log10(10 * COLUMNS / end))) if end > 0 else 0
