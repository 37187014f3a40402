from itertools import islice
from pathlib import Path

from testbed_throttle import Throttle

from testbed.faults.api import Condition
from testbed.schema.fault import Phase
from testbed.schema.scenario import load_scenario

SCENARIO = Path(__file__).with_name("scenario.yaml")
COOL = Condition(cpus=0.3, memory=2**28)


def slowness(phase: Phase) -> float:
    """How slow the node's model is in a phase."""
    condition = COOL
    for effect in phase.effects:
        condition = effect.change(condition)
    return condition.slowness


def test_a_node_is_slow_and_fast_in_turn() -> None:
    scenario = load_scenario(SCENARIO)
    (entry,) = scenario.timeline
    assert isinstance(entry.fault, Throttle)
    phases = list(islice(entry.fault.phases(scenario.topology), 4))
    assert [(slowness(phase), phase.seconds) for phase in phases] == [(4, 2), (1, 1)] * 2


def test_a_node_alone_is_enough_and_random_timelines_draw_it() -> None:
    assert load_scenario(SCENARIO, ["timeline=[{at: 1s, throttle: b}]"]).timeline[0].subject == "b"
    drawn = load_scenario(SCENARIO, ["timeline=[{random: {faults: [throttle], rate: 1/s}}]"]).drawn()
    assert {entry.kind for entry in drawn.timeline} == {"throttle"}
