"""What quality costs at the points of a sweep, as an SVG figure: the points, and the hull of what they achieve."""

from collections.abc import Mapping
from typing import Final
from xml.etree.ElementTree import SubElement

from testbed.analysis.comparison.tradeoff import Tradeoff, hull
from testbed.core.units import readable
from testbed.schema.metric import unit_of
from testbed.show.axis import covering_ticks
from testbed.show.figure import colour, figure, text_of, write

_WIDTH, _HEIGHT = 520.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 120.0, 34.0, 48.0
_TICKS: Final = 5  # at most, from zero up


def draw(points: Mapping[str, Tradeoff], cost: str, quality: str) -> str:
    """The figure of named points, whose coordinates are values of the metrics ``cost`` and ``quality``."""
    svg = figure(_WIDTH, _HEIGHT)
    across = covering_ticks(max(point.cost for point in points.values()), _TICKS)
    up = covering_ticks(max(point.quality for point in points.values()), _TICKS)

    def place(point: Tradeoff) -> tuple[float, float]:
        x = _LEFT + point.cost / across[-1] * (_WIDTH - _LEFT - _RIGHT)
        return x, _HEIGHT - _BOTTOM - point.quality / up[-1] * (_HEIGHT - _TOP - _BOTTOM)

    write(svg, "title", (_WIDTH + _LEFT - _RIGHT) / 2, 20, f"{quality} by {cost}")
    for tick in up:
        x, y = place(Tradeoff(0, tick))
        SubElement(svg, "path", {"class": "grid", "d": f"M{x:.1f} {y:.1f}H{_WIDTH - _RIGHT:.1f}"})
        write(svg, "beside", x - 8, y + 4, readable(tick, unit_of(quality)) if tick else "0")
    for tick in across:
        write(svg, "below", place(Tradeoff(tick, 0))[0], _HEIGHT - _BOTTOM + 18, readable(tick, unit_of(cost)))
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, hull(list(points.values()))))
    SubElement(svg, "polyline", {"class": colour(0), "points": corners})
    for name, point in points.items():
        x, y = place(point)
        SubElement(svg, "circle", {"class": colour(1), "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "3"})
        write(svg, "", x + 6, y + 4, name)
    return text_of(svg)
