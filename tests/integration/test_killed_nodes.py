"""A node killed in each of the protocol's states and started again: whatever it was at, what always holds, holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from observed import FinishedRun

from testbed.world.nodes.client import AWAY

Events = list[dict[str, Any]]
Run = Callable[..., FinishedRun]

SCENARIO = """
name: killed
topology:
  name: trio
  defaults: {link: {bandwidth: 10mbit, delay: 10ms}}
  nodes:
    a: {model: zoo/alpha, cpus: 0.3, memory: 160MiB}
    b: {model: zoo/beta, cpus: 0.3, memory: 160MiB}
    c: {model: zoo/gamma, cpus: 0.3, memory: 160MiB}
  switches: [s1]
  links: [{endpoints: [a, s1]}, {endpoints: [b, s1]}, {endpoints: [c, s1]}]
seed: 1192
pattern: {kind: gossip-moa, layers: 1, proposers: 2, timeout: 6s}
membership: {period: 2s, timeout: 1s}
workload: {prompts: worldfacts, arrivals: {process: poisson, rate: 0.5/s}, count: 4}
timeline:
"""
"""The first prompt comes to a and is alone for more than two seconds; the next two come at almost the same time."""


def _slow(*nodes: str) -> list[str]:
    return [f"at: 0s, slow: {{node: {node}, factor: 20}}, for: 8s" for node in nodes]


def _jobs(events: Events, *kinds: str) -> set[str]:
    return {event["job"] for event in events if event["event"] in kinds}


def _messages(events: Events, kind: str) -> set[str]:
    return {event["message"] for event in events if event["event"] == kind}


def _waits_for_proposers(events: Events) -> bool:
    asked = {f"p1.1@{node}" for node in "bc" if f"p1.1@{node}/request" in _messages(events, "send")}
    answered = {job for job in asked if f"{job}/response" in _messages(events, "receive")}
    return "p1.1@a" in _jobs(events, "end") and answered < asked


# What else goes wrong and when the node is killed; and by what of all events, up to its end, it is seen where it was.
STATES: dict[str, tuple[list[str], str, Callable[[Events], bool]]] = {
    "queued": (
        _slow("a"),
        'when: {node: a, queue: "> 1"}',
        lambda events: any(job.endswith("@a") for job in _jobs(events, "enqueue") - _jobs(events, "start")),
    ),
    "inferring": (
        _slow("a"),
        "after: {tokens: 1, node: b}",  # which a asks while it begins, and which is twenty times as fast
        lambda events: any(job.endswith("@a") for job in _jobs(events, "start") - _jobs(events, "end")),
    ),
    "waiting for proposers": (_slow("b", "c"), "after: {tokens: 1, node: a}", _waits_for_proposers),
    "aggregating": (
        _slow("a"),
        "in: {layer: 2}",
        lambda events: "p1.2@a" in _jobs(events, "start") - _jobs(events, "end"),
    ),
    "answering": (
        # A request takes a second longer to c than to b, and b's response takes 2.5 s. When c has answered, b has sent
        # its response, and a has not received it.
        ["at: 0s, degrade: {link: b-s1, up: {delay: 2500ms}}", "at: 0s, degrade: {link: c-s1, down: {delay: 1s}}"],
        "after: {tokens: 1, node: c}",
        lambda events: "p1.1@b/response" in _messages(events, "send") - _messages(events, "receive"),
    ),
}


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("state", STATES)
def test_a_node_that_is_killed_at_any_point_breaks_nothing(run: Run, tmp_path: Path, state: str) -> None:
    others, trigger, was_in_it = STATES[state]
    victim = "b" if state == "answering" else "a"
    path = tmp_path / "killed.yaml"
    path.write_text(SCENARIO + "".join(f"  - {{{one}}}\n" for one in [*others, f"{trigger}, kill: {victim}, for: 1s"]))
    patience = ("pattern.timeout=15s", "membership.period=8s", "membership.timeout=7s") if state == "answering" else ()
    killed = run(path, "--fidelity", "off", *(word for one in patience for word in ("--set", one)))
    assert killed.exit_code == 0, killed.output
    assert killed.summary["invariants"] == []
    (end,) = [event["t"] for event in killed.events if event["event"] == "exited"]
    assert was_in_it([event for event in killed.events if event["t"] < end])
    assert {event["node"] for event in killed.events if event["event"] == "ready" and event["t"] > end} <= {victim}
    if killed.seconds_away(victim) < AWAY:  # a busy host may need longer to start it, and then its prompts are lost
        assert killed.summary["metrics"]["completed"] == 1
