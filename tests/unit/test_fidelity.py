"""The verdict on an emulation: what a round trip must take, and how far off it may be."""

from typing import Any

import pytest

from testbed.results.fidelity import Fidelity, RoundTrip, expected_round_trip, judge_fidelity
from testbed.spec.topology import Topology

NODE = {"model": "zoo/alpha", "cpus": 0.5, "memory": "64MiB"}


def _topology(*links: dict[str, Any]) -> Topology:
    return Topology.model_validate(
        {"name": "t", "nodes": {"a": NODE, "b": NODE}, "switches": ["s1"], "links": list(links)}
    )


def test_a_round_trip_crosses_every_link_in_both_directions() -> None:
    topology = _topology(
        {"endpoints": ["a", "s1"], "delay": "10ms", "down": {"delay": "30ms"}},
        {"endpoints": ["s1", "b"], "delay": "1ms"},
    )
    assert expected_round_trip(topology, "a", "b") == pytest.approx(0.042)
    assert expected_round_trip(topology, "b", "a") == pytest.approx(0.042)


def test_a_slow_link_adds_the_time_to_send_a_ping_of_98_bytes() -> None:
    topology = _topology({"endpoints": ["a", "s1"], "up": {"bandwidth": "98kbit"}}, {"endpoints": ["b", "s1"]})
    assert expected_round_trip(topology, "a", "b") == pytest.approx(98 * 8 / 98e3)


@pytest.mark.parametrize(
    ("asked", "measured", "verdict"),
    [
        (0.040, 0.040, "valid"),
        (0.040, 0.0419, "valid"),  # below 2 ms
        (0.040, 0.0381, "valid"),
        (0.040, 0.0421, "distorted"),
        (0.040, 0.0379, "distorted"),
        (0.400, 0.419, "valid"),  # below a twentieth
        (0.400, 0.421, "distorted"),
        (0.000, 0.049, "distorted"),
        (0.000, 0.051, "invalid"),  # above 50 ms
        (0.040, 0.091, "invalid"),
        (0.400, 0.799, "distorted"),  # above 50 ms but not more than all of it
        (0.400, 0.801, "invalid"),
        (0.400, 0.0, "distorted"),
        (0.040, None, "invalid"),
    ],
)
def test_how_far_off_a_round_trip_may_be(asked: float, measured: float | None, verdict: str) -> None:
    assert RoundTrip("a", "b", asked, measured).verdict == verdict


def _judge(measured: float | None, oversubscribed: bool = False) -> Fidelity:
    topology = _topology({"endpoints": ["a", "s1"], "delay": "20ms"}, {"endpoints": ["b", "s1"]})
    return judge_fidelity(topology, {("a", "b"): measured, ("b", "a"): 0.04}, oversubscribed)


def test_a_good_emulation_needs_no_reasons() -> None:
    fidelity = _judge(0.04)
    assert (fidelity.verdict, fidelity.reasons) == ("valid", [])
    assert [(trip.source, trip.target, trip.asked) for trip in fidelity.round_trips] == [
        ("a", "b", pytest.approx(0.04)),
        ("b", "a", pytest.approx(0.04)),
    ]


def test_the_worst_round_trip_counts_and_is_named() -> None:
    assert _judge(0.045).verdict == "distorted"
    assert _judge(0.045).reasons == ["round trip a–b: asked 40.0 ms, measured 45.0 ms"]
    assert _judge(0.5).verdict == "invalid"
    assert _judge(None).reasons == ["round trip a–b: asked 40.0 ms, measured nothing came back"]


def test_too_little_cpu_distorts_and_hides_nothing_worse() -> None:
    assert _judge(0.04, oversubscribed=True).verdict == "distorted"
    assert "CPU" in _judge(0.04, oversubscribed=True).reasons[0]
    worse = _judge(None, oversubscribed=True)
    assert worse.verdict == "invalid"
    assert len(worse.reasons) == 2
