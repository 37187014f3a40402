"""Replays of inference times: worked out by hand, and of simulated runs whose links are known."""

from statistics import fmean

import pytest
from gossip import Gossip

from testbed.analysis.queues.replay import (
    Course,
    Turn,
    Work,
    courses_of,
    latencies,
    link_delays,
    replay,
    replayed_latency,
)
from testbed.schema.network.topology import Topology


def _tenth(source: str, target: str) -> float:
    return 0.0 if source == target else 0.1


def test_a_layer_lasts_until_its_slowest_response_and_only_those_of_others_travel() -> None:
    course = Course("p1", "a", 5.0, [[Work("a", 1.0), Work("b", 1.0)], [Work("a", 2.0)]])
    assert latencies([course]) == {"p1": pytest.approx(3.0)}
    assert latencies([course], _tenth) == {"p1": pytest.approx(3.2)}
    own_is_slowest = Course("p1", "a", 5.0, [[Work("a", 1.5), Work("b", 1.0)], [Work("a", 2.0)]])
    assert latencies([own_is_slowest], _tenth) == latencies([own_is_slowest])


def test_jobs_take_their_turns_in_the_order_in_which_they_come() -> None:
    first = Course("p1", "a", 0.0, [[Work("a", 2.0)], [Work("a", 1.0)]])
    second = Course("p2", "b", 1.0, [[Work("a", 4.0)]])
    assert replay([first, second]) == [
        Turn("p1", 1, "a", 0.0, 0.0, 2.0, 2.0),
        Turn("p2", 1, "a", 1.0, 2.0, 6.0, 6.0),
        Turn("p1", 2, "a", 2.0, 6.0, 7.0, 7.0),
    ]
    assert latencies([first, second]) == {"p1": 7.0, "p2": 5.0}


@pytest.mark.parametrize(("layers", "proposers"), [(0, 0), (1, 3), (2, 2)])
def test_a_run_without_a_network_is_its_own_replay(layers: int, proposers: int) -> None:
    run = Gossip.at(0.7, layers, proposers, count=100).play(1)
    replayed = latencies(courses_of(run))
    assert replayed.keys() == run.latencies.keys()
    assert replayed == pytest.approx(run.latencies)


@pytest.mark.parametrize("delay", [0.01, 0.05, 0.1])
def test_a_replay_misses_the_delays_of_the_links(delay: float) -> None:
    """At low load nearly nothing waits, so that what is missing is the way there and back of each layer."""
    gossip = Gossip.at(0.02, layers=2, proposers=3, count=200, delay=delay)
    run, topology = gossip.play(1), _star(delay / 2)
    replayed = replayed_latency(run, topology)
    assert replayed["measured"] == pytest.approx(replayed["delays_alone"])
    missing = fmean(run.latencies.values()) - (replayed["no_network"] or 0.0)
    assert missing == pytest.approx(2 * 2 * delay, rel=0.5)
    assert missing < 2 * 2 * delay  # now and then a node waits for itself the longest


def test_links_have_their_delays_in_either_direction() -> None:
    links = [
        {"endpoints": ["a", "s1"], "delay": "10ms", "down": {"delay": "1ms"}},
        {"endpoints": ["s1", "b"], "delay": "20ms", "down": {"delay": "2ms"}},
    ]
    node = {"model": "zoo/alpha", "cpus": 0.1, "memory": "64MiB"}
    topology = Topology.model_validate(
        {"name": "t", "nodes": {"a": node, "b": node}, "switches": ["s1"], "links": links}
    )
    delay = link_delays(topology)
    assert (delay("a", "b"), delay("b", "a"), delay("a", "a")) == (pytest.approx(0.03), pytest.approx(0.003), 0.0)


PUBLISHED = {
    (0, 0): 94.01,
    (1, 1): 329.92,
    (1, 2): 484.81,
    (1, 3): 578.88,
    (2, 1): 603.43,
    (2, 2): 790.01,
    (2, 3): 1074.28,
}
"""Seconds, of arXiv 2412.21200, table I."""


def test_the_published_latencies_are_those_of_working_off_ten_prompts_that_came_at_once() -> None:
    """With λ = 1/4 and inferences that take 46 s; in units of these."""
    alone = PUBLISHED[0, 0] / _worked_off(0, 0)
    assert alone == pytest.approx(46, rel=0.05)
    for (layers, proposers), seconds in PUBLISHED.items():
        assert alone * _worked_off(layers, proposers) == pytest.approx(seconds, rel=0.1)


def _worked_off(layers: int, proposers: int) -> float:
    """The mean latency of ten prompts, over many draws."""
    gossip = Gossip(layers, proposers, rate=46 / 4, count=10)
    return fmean(fmean(latencies(gossip.courses(seed)).values()) for seed in range(150))


def test_a_run_without_answers_has_nothing_to_replay() -> None:
    gossip = Gossip.at(0.5, 0, 0, count=1)
    run = gossip.play(1)
    none = type(run)([event for event in run.events if event["event"] != "answer"], {})
    assert set(replayed_latency(none, _star(0.1)).values()) == {None}


def _star(delay: float) -> Topology:
    node = {"model": "zoo/alpha", "cpus": 0.1, "memory": "64MiB"}
    links = [{"endpoints": [name, "s1"], "delay": f"{delay!r}s"} for name in "abcd"]
    return Topology.model_validate(
        {"name": "t", "nodes": dict.fromkeys("abcd", node), "switches": ["s1"], "links": links}
    )
