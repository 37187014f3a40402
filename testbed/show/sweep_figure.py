"""A sweep as an SVG figure for light and dark pages: a panel for each metric, a line for each set of other keys."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement

from testbed.analysis.comparison.visits import Visited
from testbed.core.units import readable
from testbed.schema.metric import unit_of
from testbed.schema.points import Point
from testbed.show.axis import covering_ticks
from testbed.show.figure import colour, figure, text_of, write

PANELS: Final = ("accuracy", "latency.mean", "queue.mean")

_PANEL: Final = (340.0, 264.0)  # pixels, across and down, with everything around the lines:
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 20.0, 34.0, 48.0
_ROW: Final = 18.0  # of the legend
_TICKS: Final = 5  # at most, from zero up


@dataclass(frozen=True)
class Axis:
    """The key on the horizontal axis, and the position of each of its values, from 0 to 1."""

    key: str
    places: Mapping[str, float]

    @classmethod
    def of(cls, points: Sequence[Point]) -> "Axis":
        """The axis of the first key that varies. Numbers of one unit are spaced to scale, all else evenly."""
        keys = list(points[0].texts)
        key = next((key for key in keys if len({point.texts.get(key) for point in points}) > 1), keys[0])
        texts = list(dict.fromkeys(point.texts.get(key, "") for point in points))
        numbers = [re.fullmatch(r"([\d.]+)(\D*)", text) for text in texts]
        units = {number and number[2] for number in numbers}
        values = [float(number[1]) for number in numbers if number] if len(units) == 1 and None not in units else []
        values = values or [float(index) for index in range(len(texts))]
        least, span = min(values), max(values) - min(values) or 1.0
        return cls(key, {text: (value - least) / span for text, value in zip(texts, values, strict=True)})

    def place(self, point: Point) -> float:
        """The position of a point."""
        return self.places[point.texts.get(self.key, "")]

    def others(self, point: Point) -> str:
        """The keys and values that identify the line of a point."""
        return ", ".join(f"{key} {text}" for key, text in point.texts.items() if key != self.key)


def draw(visited: Sequence[Visited]) -> str:
    """The figure; there must be at least one point."""
    axis = Axis.of([visit.point for visit in visited])
    names = list(dict.fromkeys(axis.others(visit.point) for visit in visited))
    width, height = len(PANELS) * _PANEL[0], _PANEL[1] + _ROW * len(names)
    svg = figure(width, height)
    for number, metric in enumerate(PANELS):
        panel = SubElement(svg, "g", transform=f"translate({number * _PANEL[0]:.0f} 0)")
        _draw_panel(panel, metric, axis, {name: _of_line(visited, axis, name) for name in names})
    for number, name in enumerate(filter(None, names)):
        y = _PANEL[1] + _ROW * number
        SubElement(svg, "polyline", {"class": colour(number), "points": f"{_LEFT},{y} {_LEFT + 20},{y}"})
        write(svg, "", _LEFT + 28, y + 4, name)
    return text_of(svg)


def _of_line(visited: Sequence[Visited], axis: Axis, name: str) -> list[Visited]:
    return sorted(
        (visit for visit in visited if axis.others(visit.point) == name), key=lambda visit: axis.place(visit.point)
    )


def _draw_panel(panel: Element, metric: str, axis: Axis, lines: Mapping[str, Sequence[Visited]]) -> None:
    unit = unit_of(metric)
    known = [visit.estimates[metric] for line in lines.values() for visit in line if metric in visit.estimates]
    ticks = covering_ticks(max((max(estimate.interval or (estimate.mean,)) for estimate in known), default=0.0), _TICKS)
    write(panel, "title", _across(0.5), 20, metric)
    for tick in ticks:
        y = _down(tick, ticks)
        SubElement(panel, "path", {"class": "grid", "d": f"M{_across(0):.1f} {y:.1f}H{_across(1):.1f}"})
        write(panel, "beside", _LEFT - 8, y + 4, readable(tick, unit) if tick else "0")
    for text, place in axis.places.items():
        write(panel, "below", _across(place), _PANEL[1] - _BOTTOM + 18, text)
    write(panel, "below", _across(0.5), _PANEL[1] - _BOTTOM + 34, axis.key)
    for number, line in enumerate(lines.values()):
        _draw_line(panel, colour(number), metric, axis, line, ticks)


def _draw_line(
    panel: Element, colour: str, metric: str, axis: Axis, line: Sequence[Visited], ticks: Sequence[float]
) -> None:
    """Draw a line through the means, and the interval of each."""
    estimates = [
        (_across(axis.place(visit.point)), visit.estimates[metric]) for visit in line if metric in visit.estimates
    ]
    corners = " ".join(f"{x:.1f},{_down(estimate.mean, ticks):.1f}" for x, estimate in estimates)
    SubElement(panel, "polyline", {"class": colour, "points": corners})
    for x, estimate in estimates:
        low, high = (_down(max(0.0, end), ticks) for end in estimate.interval or (estimate.mean, estimate.mean))
        SubElement(panel, "path", {"class": f"interval {colour}", "d": f"M{x:.1f} {low:.1f}V{high:.1f}"})
        SubElement(
            panel, "circle", {"class": colour, "cx": f"{x:.1f}", "cy": f"{_down(estimate.mean, ticks):.1f}", "r": "3"}
        )


def _across(share: float) -> float:
    return _LEFT + share * (_PANEL[0] - _LEFT - _RIGHT)


def _down(value: float, ticks: Sequence[float]) -> float:
    return _PANEL[1] - _BOTTOM - value / ticks[-1] * (_PANEL[1] - _TOP - _BOTTOM)
