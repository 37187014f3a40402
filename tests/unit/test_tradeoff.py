"""The measures of what quality costs: on published counts, on curves drawn by hand, and against brute force."""

import random
from itertools import pairwise

import pytest

from testbed.analysis.comparison.tradeoff import Routed, Tradeoff, aiq, cost_curve, hull, ibc_lift, quality_measures
from testbed.analysis.comparison.visits import Outcome, Visited
from testbed.schema.points import Point


def _oracle(prompts: int, weak: float, strong: float, either: float) -> Routed:
    """The router that knows who is right, from the shares of right answers.

    It asks the strong model first where only that is right, and last where only the weak one is.
    """
    only_strong, only_weak = round((either - weak) * prompts), round((either - strong) * prompts)
    both = round(either * prompts) - only_strong - only_weak
    rest = prompts - only_strong - only_weak - both
    scores = [2.0] * only_strong + [1.0] * (both + rest) + [0.0] * only_weak
    weak_right = [0.0] * only_strong + [1.0] * both + [0.0] * rest + [1.0] * only_weak
    strong_right = [1.0] * only_strong + [1.0] * both + [0.0] * rest + [0.0] * only_weak
    return Routed.by_score(scores, weak_right, strong_right)


@pytest.mark.parametrize(
    ("prompts", "weak", "strong", "either", "needed", "apgr"),
    [(1319, 0.6384, 0.8567, 0.9287, 0.290, 1.125), (14042, 0.6808, 0.8058, 0.8586, 0.178, 1.285)],
    ids=["GSM8K", "MMLU"],
)
def test_the_published_counts_of_routellm(
    prompts: int, weak: float, strong: float, either: float, needed: float, apgr: float
) -> None:
    oracle = _oracle(prompts, weak, strong, either)
    best = max(point.quality for point in oracle.points)
    assert best == pytest.approx(either, abs=0.001)
    assert min(point.cost for point in oracle.points if point.quality == best) == pytest.approx(needed, abs=0.001)
    assert oracle.apgr == pytest.approx(apgr, abs=0.001)
    assert oracle.cpt(0.5) == pytest.approx((strong - weak) / 2, abs=0.001)  # each prompt sent strong is one more right
    assert oracle.cpt(0.8) == pytest.approx(0.8 * (strong - weak), abs=0.001)


def test_a_router_without_knowledge_recovers_half() -> None:
    line = Routed([Tradeoff(0, 0.4), Tradeoff(1, 0.8)])
    assert line.apgr == pytest.approx(0.5)
    assert line.cpt(0.5) == pytest.approx(0.5)
    assert line.cpt(0.8) == pytest.approx(0.8)


def test_what_no_share_recovers() -> None:
    assert Routed([Tradeoff(0, 0.4), Tradeoff(1, 0.8)]).cpt(1.2) is None
    assert Routed([Tradeoff(0, 0.4), Tradeoff(1, 0.8)]).cpt(0.0) == 0


def test_the_hull_leaves_out_what_is_dominated_or_worse_than_a_mixture() -> None:
    points = [
        Tradeoff(1, 0.5),
        Tradeoff(2, 0.55),
        Tradeoff(3, 0.8),
        Tradeoff(4, 0.7),
        Tradeoff(5, 0.9),
        Tradeoff(1, 0.2),
    ]
    assert hull(points) == [Tradeoff(1, 0.5), Tradeoff(3, 0.8), Tradeoff(5, 0.9)]


def _best_mixture(points: list[Tradeoff], cost: float) -> float:
    """The best quality at ``cost`` or less of any single point or any mixture of two."""
    best = max(point.quality for point in points if point.cost <= cost)
    for a in points:
        for b in points:
            if a.cost < cost < b.cost:
                best = max(best, a.quality + (cost - a.cost) / (b.cost - a.cost) * (b.quality - a.quality))
    return best


def test_the_hull_is_the_best_of_all_mixtures_and_its_mean_height_the_aiq() -> None:
    draw = random.Random(3)
    for _ in range(20):
        points = [Tradeoff(draw.uniform(0, 10), draw.random()) for _ in range(8)]
        least, most = min(p.cost for p in points), max(p.cost for p in points)
        corners = hull(points)
        for a, b in pairwise(corners):
            middle = (a.cost + b.cost) / 2
            assert _best_mixture(points, middle) == pytest.approx((a.quality + b.quality) / 2)
        steps = [least + (number + 0.5) / 2000 * (most - least) for number in range(2000)]
        assert aiq(points) == pytest.approx(sum(_best_mixture(points, cost) for cost in steps) / 2000, abs=2e-3)


def test_one_cost_has_no_aiq() -> None:
    assert aiq([Tradeoff(1, 0.5), Tradeoff(1, 0.7)]) is None


def test_the_lift_compares_slopes() -> None:
    weak, strong = Tradeoff(1, 0.4), Tradeoff(11, 0.9)  # 5 points of quality for each unit of cost
    assert ibc_lift(Tradeoff(3, 0.55), weak, strong) == pytest.approx(0.5)
    assert ibc_lift(strong, weak, strong) == pytest.approx(0)
    assert ibc_lift(Tradeoff(3, 0.45), weak, strong) == pytest.approx(-0.5)


def _visited(name: str, **numbers: float) -> Visited:
    told = {"prompts": 10.0, **numbers}
    return Visited(Point(set={"pattern.layers": name}), [Outcome(1, "passed", [], 0, numbers=told, judged=10)])


def test_a_sweeps_curve_is_by_cost_else_by_the_share_that_is_offloaded() -> None:
    one = {"accuracy": 0.5, "cost": 2.0, "offload": 0.0}
    other = {"accuracy": 0.75, "cost": 4.0, "offload": 1.0}
    curve = cost_curve([_visited("0", **one), _visited("1", **other)])
    assert curve is not None and curve.cost == "cost"
    assert list(curve.points.values()) == [Tradeoff(2, 0.5), Tradeoff(4, 0.75)]
    free = cost_curve([_visited("0", **one | {"cost": 0.0}), _visited("1", **other | {"cost": 0.0})])
    assert free is not None and free.cost == "offload"
    assert cost_curve([_visited("0", **one), _visited("1", **one)]) is None


def test_a_sweep_from_the_weak_to_the_strong_model_alone_has_every_measure() -> None:
    shares = {"a": (0.0, 0.4), "b": (0.5, 0.7), "c": (1.0, 0.8)}
    visited = [_visited(name, accuracy=quality, offload=share) for name, (share, quality) in shares.items()]
    assert quality_measures(visited) == pytest.approx(
        {
            "AIQ by offload": 0.5 * (0.4 + 0.7) / 2 + 0.5 * (0.7 + 0.8) / 2,
            "APGR": (0.5 * 0.75 / 2) + 0.5 * (0.75 + 1) / 2,
            "CPT(50 %)": 1 / 3,
            "CPT(80 %)": 0.6,
        }
    )
    assert quality_measures(visited[1:]).keys() == {"AIQ by offload"}
    assert quality_measures(visited[:1]) == {}
