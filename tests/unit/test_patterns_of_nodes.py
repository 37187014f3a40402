"""Scenarios in which nodes run different patterns."""

from typing import Any

import pytest

from testbed.core.errors import SpecError
from testbed.schema.scenario import load_scenario, scenario_text

ALONE = "{kind: gossip-moa, layers: 0, proposers: 0}"


def test_a_node_can_run_a_pattern_of_its_own_and_then_owns_no_prompts(files: Any) -> None:
    scenario = files.load(f"patterns={{b: {ALONE}}}")
    assert (list(scenario.owners), list(scenario.calls)) == (["a"], ["a"])
    assert scenario.pattern_of("a") is scenario.pattern
    assert scenario.pattern_of("b").calls(scenario.surroundings["b"]) == (1, 1)
    again = files.directory / "again.yaml"
    again.write_text(scenario_text(scenario))
    assert load_scenario(again).patterns == scenario.patterns


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (f"{{x: {ALONE}}}", "there is no node 'x'; known are a, b"),
        (f"{{a: {ALONE}, b: {ALONE}}}", "no node is left at which prompts could arrive"),
        ("{b: {kind: gossip-moa, layers: 1, proposers: 9}}", "'b' lacks 8"),
    ],
)
def test_patterns_that_do_not_fit_the_nodes_are_refused_with_their_place(
    files: Any, patterns: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        files.load(f"patterns={patterns}")


def test_surroundings_are_what_the_topology_says(files: Any) -> None:
    topology = files.topology.replace("zoo/beta,", "zoo/beta, tier: cloud, price: {input: 1, output: 2},")
    around = files.load(topology=topology).surroundings["a"]
    assert around.itself.name == "a"
    (peer,) = around.peers
    assert (peer.name, peer.model, peer.tier, peer.linked) == ("b", "zoo/beta", "cloud", True)
    assert peer.price is not None and peer.price.output == 2
