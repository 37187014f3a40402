"""Random timelines: always valid, within what was asked for, and the same whenever the seed is."""

from typing import Any

import pytest

from testbed.core.errors import SpecError
from testbed.record.directory import RunDirectory
from testbed.schema.fault import FAULTS
from testbed.schema.scenario import Scenario, load_scenario
from testbed.schema.timeline.entries import timeline_mistakes

SEEDS = range(40)
LONG = ("workload.count=40", "workload.arrivals.rate=1/s")  # 20 seconds


def _scenario(files: Any, *entries: str, seed: int = 3) -> Scenario:
    text = files.scenario + "timeline:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)
    scenario: Scenario = files.load(*LONG, f"seed={seed}", scenario=text)
    return scenario


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_drawn_is_valid_within_play_and_as_long_as_asked_for(files: Any, seed: int) -> None:
    scenario = _scenario(files, "random: {rate: 2/s, shortest: 300ms, longest: 4s}", "at: 5s, kill: b", seed=seed)
    drawn = scenario.drawn().timeline
    assert list(timeline_mistakes(drawn, scenario.extent)) == []
    assert drawn[0] == scenario.timeline[1]
    assert len(drawn) > 10
    for entry in drawn[1:]:
        assert entry.random is None
        assert entry.at is not None
        assert 0 < entry.at <= scenario.extent.seconds == 20
        assert entry.fault is not None
        assert entry.lasts is None if entry.fault.momentary else 0.3 <= (entry.lasts or 0) <= 4


NEVER_DRAWN = {"swap", "unplug"}


def test_every_kind_is_drawn_and_of_some_only_those(files: Any) -> None:
    def kinds(faults: str) -> set[str]:
        scenarios = (_scenario(files, f"random: {{{faults}rate: 2/s}}", seed=seed) for seed in SEEDS)
        return {entry.kind for scenario in scenarios for entry in scenario.drawn().timeline}

    assert kinds("") == set(FAULTS.names()) - NEVER_DRAWN
    assert kinds("faults: [cut, restart], ") == {"cut", "restart"}


def test_each_random_entry_draws_by_itself_the_same_for_the_same_seed(files: Any) -> None:
    one, other = "random: {rate: 1/s}", "random: {rate: 1/s, faults: [partition]}"
    alone, both = (_scenario(files, *entries).drawn().timeline for entries in ([one], [one, other]))
    assert alone == _scenario(files, one).drawn().timeline
    assert both[: len(alone)] == alone
    assert {entry.kind for entry in both[len(alone) :]} == {"partition"}
    assert alone != _scenario(files, one, seed=4).drawn().timeline


def test_a_dead_node_is_left_alone_until_it_is_started_again(files: Any) -> None:
    scenario = _scenario(files, "at: 0s, kill: a", "random: {rate: 5/s, faults: [pause, restart]}")
    of_a = [entry.kind for entry in scenario.drawn().timeline[1:] if entry.subject == "a"]
    assert of_a[0] == "restart"
    assert "pause" in of_a


def test_a_drawn_timeline_survives_being_resolved_and_draws_no_more(files: Any) -> None:
    drawn = _scenario(files, "random: {rate: 5/s}").drawn()
    again = load_scenario(RunDirectory.create(drawn, files.directory / "run").path / "scenario.yaml")
    assert again == drawn == drawn.drawn()


def test_nothing_can_be_expected_of_what_is_still_to_be_drawn(files: Any) -> None:
    text = files.scenario.replace("expect:", "expect:\n  after: random-1")
    with pytest.raises(SpecError, match="the timeline has no entry named 'random-1'; known are none"):
        files.load(scenario=f"{text}timeline: [random: {{rate: 1/s}}]\n")


ALONE = """\
name: alone
nodes:
  a: {model: zoo/alpha, cpus: 0.01, memory: 160MiB}
"""


def test_what_a_topology_has_nothing_for_is_not_drawn(files: Any) -> None:
    text = files.scenario.replace("proposers: 1", "proposers: 0")

    def load(random: str) -> Scenario:
        scenario: Scenario = files.load(*LONG, scenario=f"{text}timeline: [random: {random}]", topology=ALONE)
        return scenario

    kinds = {entry.kind for entry in load("{rate: 5/s}").drawn().timeline}
    assert kinds
    assert kinds.isdisjoint({"cut", "flap", "degrade", "partition"})
    with pytest.raises(SpecError, match="this topology has no target for any of these; name other kinds"):
        load("{rate: 1/s, faults: [partition, cut]}")
