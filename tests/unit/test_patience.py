"""The deadlines for reaching neighbours, which follow from the links' own numbers."""

from pathlib import Path
from typing import Any

import pytest

from testbed.schema.network.link_trace import LinkTrace
from testbed.schema.network.topology import Topology
from testbed.world.network.patience import patience, slowest

NODE = {"model": "zoo/alpha", "cpus": 0.5, "memory": "64MiB"}


def _topology(*links: dict[str, Any], nodes: str = "a b", switches: str = "") -> Topology:
    parts = {"nodes": dict.fromkeys(nodes.split(), NODE), "switches": switches.split(), "links": list(links)}
    return Topology.model_validate({"name": "t", **parts})


def _link(ends: str, **properties: Any) -> dict[str, Any]:
    return {"endpoints": ends.split(), **properties}


@pytest.mark.parametrize("delay", [1.1, 1.6, 30, 3600])
def test_a_delay_is_waited_for_four_times_there_and_back(delay: float) -> None:
    waited = patience(_topology(_link("a b", delay=f"{delay}s")))
    assert waited == {"a": {"b": pytest.approx(5 + 8 * delay)}, "b": {"a": pytest.approx(5 + 8 * delay)}}


def test_what_all_nodes_send_at_once_over_a_narrow_link_is_waited_for() -> None:
    """Three nodes at a switch: four ordered pairs cross the link of a, 2 kB each in each direction."""
    links = (_link("a s1", bandwidth="1kbit"), _link("b s1"), _link("c s1"))
    waited = patience(_topology(*links, nodes="a b c", switches="s1"))
    assert waited["a"]["c"] == pytest.approx(5 + 2 * 4 * 2000 * 8 / 1000)
    assert waited["b"]["c"] == pytest.approx(5)


def test_a_recorded_link_is_waited_for_through_its_longest_outage(tmp_path: Path) -> None:
    assert LinkTrace("x", (9000, 9100, 12000)).longest_gap == 9
    assert LinkTrace("x", (100, 9100, 12000)).longest_gap == 9
    trace = tmp_path / "outage.trace"
    trace.write_text("30000\n" + "30001\n" * 999)
    waited = patience(_topology(_link("a b", up={"trace": str(trace)})))
    assert 5 + 60 < waited["a"]["b"] < 5 + 60 + 50


def test_losses_are_waited_for_longer_and_the_slowest_link_is_named() -> None:
    links = (_link("a s1", delay="2s", loss="50%"), _link("b s1", delay="3s"))
    topology = _topology(*links, switches="s1")
    assert patience(topology)["a"]["b"] == pytest.approx((5 + 8 * 2 + 8 * 3) * 4)
    assert "a-s1" in slowest(topology, "b", "a")
