"""A topology as an SVG picture, for light and dark pages."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from testbed.schema.network.direction import Direction
from testbed.schema.network.link import Link
from testbed.schema.network.topology import Topology
from testbed.show.topologies import numbers
from testbed.topologies.layout import Point, layout

_LINK: Final = (270.0, 180.0)  # pixels that a link of length 1 is long, across and down: texts are wide
_MARGIN: Final = 80.0
_NODE: Final = (104.0, 44.0)  # width and height
_SWITCH: Final = (64.0, 28.0)
_LETTER: Final = 5.6  # width of one in a link's numbers
_LINE: Final = 13.0  # height of a line of them
_POINTS: Final = 24  # of a line that are looked at
_CROSSED: Final = 30  # pixels of a box that may rather be covered than one such point
_ALONG: Final = (0.5, 0.42, 0.58, 0.34, 0.66, 0.27, 0.73)  # where on a link its numbers may stand, the best first

# Some programs that show SVG know no variables in CSS, so each theme says all its colours. A page that the picture
# stands in has classes of its own.
_STYLE: Final = """
.topology text { font-family: ui-sans-serif, system-ui, "Segoe UI", Helvetica, Arial, sans-serif; text-anchor: middle; }
.topology .name { font-size: 13px; font-weight: 600; fill: #1f2328; }
.topology .detail, .topology .numbers { font-size: 10.5px; fill: #59636e; }
.topology .link { stroke-width: 1.6px; stroke: #8c959f; }
.topology .device { stroke-width: 1.4px; fill: #ddf4ff; stroke: #0969da; }
.topology .switch { stroke-width: 1.4px; fill: #fff8c5; stroke: #bf8700; }
.topology .page { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  .topology .name { fill: #f0f6fc; }
  .topology .detail, .topology .numbers { fill: #b1bac4; }
  .topology .link { stroke: #6e7681; }
  .topology .device { fill: #10345c; stroke: #4493f8; }
  .topology .switch { fill: #4b3a06; stroke: #d29922; }
  .topology .page { fill: #0d1117; }
}
"""


@dataclass(frozen=True)
class Box:
    """A rectangle around its centre."""

    x: float
    y: float
    width: float
    height: float

    def holds(self, point: Point) -> bool:
        """Whether the box contains the point."""
        return abs(point[0] - self.x) < self.width / 2 and abs(point[1] - self.y) < self.height / 2

    def overlap(self, other: "Box") -> float:
        """The area of the intersection, in square pixels."""
        across = min(self.x + self.width / 2, other.x + other.width / 2) - max(
            self.x - self.width / 2, other.x - other.width / 2
        )
        down = min(self.y + self.height / 2, other.y + other.height / 2) - max(
            self.y - self.height / 2, other.y - other.height / 2
        )
        return max(0.0, across) * max(0.0, down)


def draw(topology: Topology) -> str:
    """The picture: devices, switches, and links with their numbers, per direction if they differ."""
    places, width, height = _placed(topology)
    size = {"viewBox": f"0 0 {width:.0f} {height:.0f}", "width": f"{width:.0f}"}
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "class": "topology", **size})
    SubElement(svg, "title").text = topology.name
    SubElement(svg, "style").text = _STYLE
    SubElement(svg, "rect", {"class": "page", "width": "100%", "height": "100%"})
    for link in topology.resolved_links:
        _draw_line(svg, places[link.a], places[link.b])
    boxes = {name: Box(*place, *(_NODE if name in topology.nodes else _SWITCH)) for name, place in places.items()}
    for name, box in boxes.items():
        _draw_end(svg, topology, name, box)
    taken = list(boxes.values())
    lines = {link.name: _points(places[link.a], places[link.b]) for link in topology.resolved_links}
    for link in topology.resolved_links:
        others = [point for name, points in lines.items() if name != link.name for point in points]
        taken.append(_draw_numbers(svg, link, places, taken, others))
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _placed(topology: Topology) -> tuple[dict[str, Point], float, float]:
    """The positions of nodes and switches, and the width and height of the picture, in pixels."""
    places = layout(topology)
    left, top = (min(place[axis] for place in places.values()) for axis in (0, 1))
    shifted = {
        name: (_MARGIN + (x - left) * _LINK[0], _MARGIN + (y - top) * _LINK[1]) for name, (x, y) in places.items()
    }
    width, height = (max(place[axis] for place in shifted.values()) + _MARGIN for axis in (0, 1))
    return shifted, width, height


def _draw_line(svg: Element, a: Point, b: Point) -> None:
    ends = {"x1": a[0], "y1": a[1], "x2": b[0], "y2": b[1]}
    SubElement(svg, "line", {"class": "link", **{key: f"{value:.1f}" for key, value in ends.items()}})


def _draw_end(svg: Element, topology: Topology, name: str, box: Box) -> None:
    if name not in topology.nodes:
        _draw_box(svg, "switch", box, 3)
        _write(svg, "name", box.x, box.y + 4, name)
        return
    node = topology.nodes[name]
    _draw_box(svg, "device", box, 8)
    _write(svg, "name", box.x, box.y - 6, name)
    for number, detail in enumerate(numbers.about(node)):
        _write(svg, "detail", box.x, box.y + 6 + 11 * number, detail.rpartition("/")[2])


def _points(a: Point, b: Point) -> list[Point]:
    """Points on the line from ``a`` to ``b``."""
    return [(a[0] + (b[0] - a[0]) * step / _POINTS, a[1] + (b[1] - a[1]) * step / _POINTS) for step in range(_POINTS)]


def _draw_numbers(
    svg: Element, link: Link, places: dict[str, Point], taken: Iterable[Box], others: Iterable[Point]
) -> Box:
    """Draw the numbers on the link's line, where they cover the least of other boxes and lines; returns their box."""
    (ax, ay), (bx, by) = places[link.a], places[link.b]
    lines = list(_numbers(link, (bx - ax, by - ay)))
    size = (max(map(len, lines)) * _LETTER + 6, len(lines) * _LINE + 2)
    spots = [Box(ax + (bx - ax) * along, ay + (by - ay) * along, *size) for along in _ALONG]
    spot = min(spots, key=lambda spot: round(sum(map(spot.overlap, taken)) + _CROSSED * sum(map(spot.holds, others))))
    _draw_box(svg, "page", spot, 4)
    for number, line in enumerate(lines):
        _write(svg, "numbers", spot.x, spot.y + (number - len(lines) / 2 + 0.78) * _LINE, line)
    return spot


def _numbers(link: Link, ahead: Point) -> Iterator[str]:
    """The numbers of both directions, or of each with an arrow that points as the line does in the picture."""
    forth, back = _arrows(ahead)
    for source, sign, _, direction in numbers.directions(link):
        arrow = "" if sign == "↔" else f"{forth if source == link.a else back} "
        yield from _lines(arrow, direction)


def _arrows(ahead: Point) -> tuple[str, str]:
    """An arrow that points roughly ahead, and one that points back."""
    across, down = ahead
    if abs(across) > abs(down):
        return ("→", "←") if across > 0 else ("←", "→")
    return ("↓", "↑") if down > 0 else ("↑", "↓")


def _lines(arrow: str, direction: Direction) -> Iterator[str]:
    yield f"{arrow}{numbers.bandwidth(direction)} · {numbers.delay(direction)}"
    if rest := ", ".join(text for text in (numbers.loss(direction), numbers.others(direction)) if text):
        yield rest


def _draw_box(svg: Element, kind: str, box: Box, radius: int) -> None:
    corner = {"x": f"{box.x - box.width / 2:.1f}", "y": f"{box.y - box.height / 2:.1f}"}
    size = {"width": f"{box.width:.0f}", "height": f"{box.height:.0f}", "rx": str(radius)}
    SubElement(svg, "rect", {"class": kind, **corner, **size})


def _write(svg: Element, kind: str, x: float, y: float, text: str) -> None:
    SubElement(svg, "text", {"class": kind, "x": f"{x:.1f}", "y": f"{y:.1f}"}).text = text
