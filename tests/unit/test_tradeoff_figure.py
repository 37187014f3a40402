"""The figure of what quality costs: every point is named and in its place, and the line is the hull."""

from xml.etree import ElementTree

import pytest

from testbed.analysis.comparison.tradeoff import Tradeoff
from testbed.show.tradeoff_figure import draw

WEAK, WORSE, HALF, STRONG = Tradeoff(0.0, 0.2), Tradeoff(0.75, 0.3), Tradeoff(0.5, 0.8), Tradeoff(1.0, 1.0)
POINTS = {"weak": WEAK, "worse": WORSE, "half": HALF, "strong": STRONG}
SVG = "{http://www.w3.org/2000/svg}"


def test_the_line_joins_the_points_that_no_mixture_beats() -> None:
    svg = ElementTree.fromstring(draw(POINTS, "offload", "accuracy"))
    drawn = [(float(circle.get("cx", 0)), float(circle.get("cy", 0))) for circle in svg.iter(f"{SVG}circle")]
    circles = dict(zip(POINTS, drawn, strict=True))
    (line,) = svg.iter(f"{SVG}polyline")
    corners = [tuple(map(float, corner.split(","))) for corner in line.get("points", "").split()]
    assert corners == [circles["weak"], circles["half"], circles["strong"]]
    assert {text.text for text in svg.iter(f"{SVG}text")} >= {*POINTS, "accuracy by offload"}
    across = [circles[name][0] for name in ("weak", "half", "worse", "strong")]
    assert across[1] - across[0] == pytest.approx(2 * (across[2] - across[1]), abs=0.2)
    assert circles["strong"][1] < circles["half"][1] < circles["worse"][1]  # better is higher up


def test_points_that_cost_nothing_are_drawn() -> None:
    assert "<circle" in draw({"free": Tradeoff(0.0, 0.0)}, "cost", "accuracy")
