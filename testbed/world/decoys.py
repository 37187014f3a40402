"""The decoys that the timeline's liars are given at their start."""

from collections.abc import Mapping

from testbed.core import seeds
from testbed.faults.lie import Lie
from testbed.schema.scenario import Scenario
from testbed.workload.decoys import decoy


def decoys_of(scenario: Scenario, node: str) -> dict[str, dict[str, str]]:
    """What ``node`` will say in each of its groups of liars, by prompt; nothing of a node that never lies."""
    lies = [entry.fault for entry in scenario.timeline if isinstance(entry.fault, Lie)]
    return {lie.group: _decoys(scenario, lie.group) for lie in lies if lie.node == node}


def _decoys(scenario: Scenario, group: str) -> dict[str, str]:
    workload = scenario.workload
    questions = {arrival.prompt: arrival.question for arrival in workload.schedule(scenario.owners, scenario.seed)}
    others = list(questions.values())
    found: Mapping[str, str | None] = {
        prompt: decoy(question, others, workload.scorer, seeds.stream(scenario.seed, "decoy", group, prompt))
        for prompt, question in questions.items()
    }
    return {prompt: said for prompt, said in found.items() if said is not None}
