"""What quality costs, over a sweep of thresholds or of routers: the measures of RouteLLM, RouterBench and AutoMix.

A curve is a list of points. Costs are shares of prompts that the strong model answers, or money, or any other quantity;
qualities are accuracies, or any other mean score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, Self

from testbed.analysis.comparison.visits import Visited

_COSTS: Final = ("cost", "offload")
_QUALITY: Final = "accuracy"


@dataclass(frozen=True, order=True)
class Tradeoff:
    """A cost and the quality that it buys."""

    cost: float
    quality: float


class Curve(NamedTuple):
    """The points of a sweep by name, and the metrics that their coordinates are values of."""

    points: dict[str, Tradeoff]
    cost: str
    quality: str


@dataclass(frozen=True)
class Routed:
    """The quality of a router by the share of prompts that it sends to the strong model: 0 at the first point, 1 at
    the last, where all prompts go to the weak and to the strong model.

    The measures are those of RouteLLM (Ong et al., arXiv 2406.18665). They need models of different quality.
    """

    points: Sequence[Tradeoff]

    @classmethod
    def by_score(cls, scores: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> Self:
        """From each prompt's router score and the scores of both models' answers; the highest go strong first."""
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        gains = accumulate((strong[index] - weak[index] for index in order), initial=sum(weak))
        return cls([Tradeoff(sent / len(scores), total / len(scores)) for sent, total in enumerate(gains)])

    def recovered(self, quality: float) -> float:
        """The performance gap recovered: 0 at the weak model's quality, 1 at the strong one's."""
        weak, strong = self.points[0].quality, self.points[-1].quality
        return (quality - weak) / (strong - weak)

    @property
    def apgr(self) -> float:
        """The average of the gap recovered over all shares, by trapezoids."""
        return sum(
            (after.cost - before.cost) * (self.recovered(before.quality) + self.recovered(after.quality)) / 2
            for before, after in pairwise(self.points)
        )

    def cpt(self, recovered: float) -> float | None:
        """The least share of strong calls that recovers so much of the gap, from 0 to 1; None if no share does.

        RouteLLM writes CPT(50 %) for ``cpt(0.5)``. Between points the curve is a straight line.
        """
        for before, after in pairwise(self.points):
            low, high = self.recovered(before.quality), self.recovered(after.quality)
            if low >= recovered:
                return before.cost
            if high >= recovered:
                return before.cost + (recovered - low) / (high - low) * (after.cost - before.cost)
        return None


def hull(points: Sequence[Tradeoff]) -> list[Tradeoff]:
    """The corners of the non-decreasing convex hull: what mixtures of the points achieve at best, by ascending cost.

    RouterBench (Hu et al., arXiv 2403.12031). Beyond the last corner, more cost buys nothing.
    """
    corners: list[Tradeoff] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.quality)):
        if corners and point.quality <= corners[-1].quality:
            continue
        while len(corners) > 1 and _below(corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    return corners


def _below(first: Tradeoff, middle: Tradeoff, last: Tradeoff) -> bool:
    """Whether ``middle`` is on or below the line from ``first`` to ``last``."""
    rise = (last.quality - first.quality) * (middle.cost - first.cost)
    return (middle.quality - first.quality) * (last.cost - first.cost) <= rise


def aiq(points: Sequence[Tradeoff]) -> float | None:
    """The average improvement in quality (RouterBench): the mean height of the hull over the costs of ``points``.

    None if they have one cost.
    """
    corners, most = hull(points), max(point.cost for point in points)
    span = most - corners[0].cost
    if not span:
        return None
    corners.append(Tradeoff(most, corners[-1].quality))
    area = sum((b.cost - a.cost) * (a.quality + b.quality) / 2 for a, b in pairwise(corners))
    return area / span


def ibc_lift(method: Tradeoff, weak: Tradeoff, strong: Tradeoff) -> float:
    """How much more quality a method buys for its cost beyond the weak model's than the strong model does.

    0 if as much, 0.5 if half as much again: the lift of the incremental benefit per cost, of AutoMix (Aggarwal et al.,
    arXiv 2310.12963). The costs must be above the weak model's.
    """
    return _benefit(method, weak) / _benefit(strong, weak) - 1


def _benefit(point: Tradeoff, weak: Tradeoff) -> float:
    return (point.quality - weak.quality) / (point.cost - weak.cost)


def cost_curve(visited: Sequence[Visited]) -> Curve | None:
    """The accuracy of a sweep's points by their cost, else by the share that they offload.

    None if neither differs between points, or the points have no accuracy.
    """
    for metric in _COSTS:
        told = [visit for visit in visited if {metric, _QUALITY} <= visit.estimates.keys()]
        points = {
            visit.point.name: Tradeoff(visit.estimates[metric].mean, visit.estimates[_QUALITY].mean) for visit in told
        }
        if len({point.cost for point in points.values()}) > 1:
            return Curve(points, metric, _QUALITY)
    return None


def quality_measures(visited: Sequence[Visited]) -> dict[str, float]:
    """The measures of a sweep by name, as far as its points have them.

    ``AIQ`` needs a curve of costs. ``APGR`` and ``CPT`` need points at which no prompt and every prompt is offloaded,
    of different accuracies: the weak and the strong model alone.
    """
    found: dict[str, float] = {}
    curve = cost_curve(visited)
    if curve is not None and (mean := aiq(list(curve.points.values()))) is not None:
        found[f"AIQ by {curve.cost}"] = mean
    shares = {
        visit.estimates["offload"].mean: visit.estimates[_QUALITY].mean
        for visit in visited
        if {"offload", _QUALITY} <= visit.estimates.keys()
    }
    points = [Tradeoff(*point) for point in sorted(shares.items())]
    if points and (points[0].cost, points[-1].cost) == (0, 1) and points[0].quality != points[-1].quality:
        routed = Routed(points)
        found["APGR"] = routed.apgr
        thresholds = {"CPT(50 %)": routed.cpt(0.5), "CPT(80 %)": routed.cpt(0.8)}
        found |= {name: share for name, share in thresholds.items() if share is not None}
    return found
