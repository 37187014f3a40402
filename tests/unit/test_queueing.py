"""Queues against theory, in simulated runs whose load is known, and formulas against their textbook cases."""

import random
from statistics import fmean

import pytest
from gossip import NODES, Gossip

from testbed.analysis.queues.figures import FEWEST, ExpectedLoad, QueueFigures, mean_queue, queue_figures
from testbed.analysis.queues.trend import LEVEL, trend
from testbed.patterns.gossip_moa import GossipMoa

SEEDS = (1, 2, 3)


def _moa(layers: int, proposers: int) -> GossipMoa:
    return GossipMoa.model_validate({"kind": "gossip-moa", "layers": layers, "proposers": proposers})


def _figures(gossip: Gossip, seed: int) -> dict[str, QueueFigures]:
    return queue_figures(gossip.play(seed), ExpectedLoad.of(gossip.scenario))


def _mesh(nodes: str) -> dict[str, list[str]]:
    return {node: [other for other in nodes if other != node] for node in nodes}


@pytest.mark.parametrize("load", [0.5, 0.8])
@pytest.mark.parametrize(("layers", "proposers", "count"), [(0, 0, 800), (1, 3, 200), (1, 3, 800), (2, 1, 400)])
def test_queues_below_saturation_are_stable(load: float, layers: int, proposers: int, count: int) -> None:
    for seed in SEEDS:
        gossip = Gossip.at(load, layers, proposers, count, delay=0.4)
        figures = _figures(gossip, seed)
        assert {figure.verdict for figure in figures.values()} == {"stable"}


@pytest.mark.parametrize(("layers", "proposers", "count"), [(0, 0, 5000), (1, 3, 1200), (2, 3, 1200)])
def test_queues_beyond_saturation_are_unstable(layers: int, proposers: int, count: int) -> None:
    for seed in SEEDS:
        gossip = Gossip.at(1.2, layers, proposers, count, delay=0.4)
        figures = _figures(gossip, seed)
        assert {figure.verdict for figure in figures.values()} == {"unstable"}
        assert all(figure.trend and 0 < figure.trend.slope < 2 * 0.2 for figure in figures.values())


def test_the_slowest_device_alone_diverges() -> None:
    gossip = Gossip(1, 3, rate=0.7 / 5, count=1200, slower={"c": 2.0})
    for seed in SEEDS:
        figures = _figures(gossip, seed)
        assert {node for node, figure in figures.items() if figure.verdict == "unstable"} == {"c"}
        assert figures["c"].utilisation == pytest.approx(1.4, rel=0.02)
        assert figures["a"].utilisation == pytest.approx(0.7, rel=0.02)
        assert figures["a"].theorem == pytest.approx(1.4, rel=0.02)


@pytest.mark.parametrize("load", [0.5, 0.8])
@pytest.mark.parametrize(("layers", "proposers", "count", "off"), [(0, 0, 4000, 0.1), (1, 3, 1500, 0.2)])
def test_the_mean_queue_is_that_of_the_model(load: float, layers: int, proposers: int, count: int, off: float) -> None:
    gossip = Gossip.at(load, layers, proposers, count, delay=0.4)
    figures = [figure for seed in SEEDS for figure in _figures(gossip, seed).values()]
    measured = fmean(figure.mean_under_load for figure in figures)
    assert measured == pytest.approx(fmean(figure.model or 0.0 for figure in figures), rel=off)


def test_what_a_node_is_offered_is_what_the_rate_of_prompts_makes_expect() -> None:
    gossip = Gossip(2, 2, rate=0.05, count=1500, answer=0.5, aggregation=2.0, delay=0.1)
    for figure in _figures(gossip, 1).values():
        assert figure.utilisation == pytest.approx(0.05 * (3 * 0.5 + 4 * 2.0), rel=0.02)
        assert figure.offered == pytest.approx(figure.utilisation, rel=0.1)
        answers, aggregations = figure.services["answer"], figure.services["aggregation"]
        assert (answers.mean, aggregations.mean) == (pytest.approx(0.5, rel=0.05), pytest.approx(2.0, rel=0.05))
        assert aggregations.deviation == pytest.approx(0.6, rel=0.1)
        assert aggregations.count / answers.count == pytest.approx(4 / 3, rel=0.05)


@pytest.mark.parametrize("layers", range(4))
@pytest.mark.parametrize("proposers", range(1, 4))
def test_neighbourhoods_of_one_size_cost_what_the_theorem_says(layers: int, proposers: int) -> None:
    for jobs in _moa(layers, proposers).load(_mesh(NODES)).values():
        assert sum(jobs.values()) == pytest.approx((proposers + 1) * layers + 1)


def test_sparse_neighbourhoods_ask_most_of_those_whom_many_know() -> None:
    """A star: its centre is the one neighbour of three, each of which asks it in every layer."""
    star = {"a": ["b", "c", "d"], "b": ["a"], "c": ["a"], "d": ["a"]}
    jobs = _moa(2, 1).load(star)
    assert jobs["a"] == {"answer": 1 + 3, "aggregation": 2 + 3}
    assert jobs["b"] == {"answer": pytest.approx(1 + 1 / 3), "aggregation": pytest.approx(2 + 1 / 3)}
    assert sum(sum(of_node.values()) for of_node in jobs.values()) == pytest.approx(4 * ((1 + 1) * 2 + 1))


def test_a_run_of_few_jobs_has_no_verdict_and_one_of_none_no_figures() -> None:
    gossip = Gossip.at(0.5, 0, 0, count=4 * FEWEST // 8)
    assert {figure.verdict for figure in _figures(gossip, 1).values()} == {None}
    nothing = Gossip.at(0.5, 0, 0, count=1)
    assert set(_figures(nothing, 1)) <= set(NODES)


def test_the_mean_queue_of_textbook_cases() -> None:
    deterministic = 0.8 + 0.8**2 / (2 * 0.2)
    assert mean_queue(0.8, [1.0], [1.0]) == pytest.approx(deterministic)  # M/D/1
    draw = random.Random(1)
    exponential = [draw.expovariate(1.0) for _ in range(100_000)]
    assert mean_queue(0.8, exponential, exponential) == pytest.approx(0.8 / 0.2, rel=0.03)  # M/M/1
    assert mean_queue(1.0, [1.0], [1.0]) is None
    setup = 0.8 * (2 * 0.5 + 0.8 * 0.5**2) / (2 * (1 + 0.8 * 0.5))  # Levy and Kleinrock, Operations Research 34, 1986
    assert mean_queue(0.8, [1.5], [1.0]) == pytest.approx(deterministic + setup)


def test_the_mean_queue_of_a_node_that_never_or_always_waits() -> None:
    assert mean_queue(0.8, [1.0], []) == mean_queue(0.8, [], [1.0]) == mean_queue(0.8, [1.0], [1.0])


def test_the_trend_of_a_queue_that_nothing_left_is_the_rate_at_which_it_filled() -> None:
    found = trend([(0.5 * number, 1) for number in range(1, 401)], 200.0)
    assert found is not None
    assert (found.slope, found.interval, found.p) == (pytest.approx(2.0), (pytest.approx(2.0), pytest.approx(2.0)), 0.0)
    assert trend([(0.0, 0)], 10.0) is None


def test_a_random_walk_without_drift_is_called_growing_no_more_often_than_the_level_says() -> None:
    """The worst case: changes that nothing takes back, as at saturation, but for the floor under a queue."""
    draw = random.Random("walk")
    runs, alarms = 1000, 0
    for _ in range(runs):
        steps = [(float(number), draw.choice((-1, 1))) for number in range(1, 201)]
        found = trend(steps, 200.0)
        alarms += found is not None and found.grows
    assert alarms / runs == pytest.approx(LEVEL, abs=3 * (LEVEL / runs) ** 0.5)
