"""Expectations held against a run worked out by hand: which part of it they look at, and what they say."""

from typing import Any

import pytest

from testbed.analysis.events import HOST, Event
from testbed.analysis.faults import fault_records
from testbed.analysis.measurements import Measurements
from testbed.analysis.verdict.judgement import Judgement, judge

TIMELINE = """\
timeline:
  - {at: 2s, partition: [[a], [b]], for: 2s}
  - {at: 6s, name: crash, kill: b}
  - {at: 8s, heal: crash}
  - {at: 90s, name: never, cut: a-s1, for: 1s}
"""


def _event(t: float, node: str, event: str, **fields: Any) -> Event:
    return {"t": t, "node": node, "event": event, **fields}


def _prompt(name: str, owner: str, t: float, took: float | None) -> list[Event]:
    """A prompt, with the one inference that it needs; without an answer if that took no time."""
    job = f"{name}.1@{owner}"
    events = [
        _event(t, HOST, "prompt", prompt=name, owner=owner, text="?", truth="Rome"),
        _event(t, owner, "arrival", prompt=name, text="?"),
        _event(t, owner, "enqueue", job=job, prompt=name),
        _event(t, owner, "start", job=job),
    ]
    if took is None:
        failure = {"reason": "too long"}
        return [
            *events,
            _event(t, owner, "job_failed", job=job, **failure),
            _event(t, owner, "failed", prompt=name, **failure),
        ]
    end = _event(t + took, owner, "end", job=job, tokens=4, prompt_tokens=9, text="Rome")
    return [*events, end, _event(t + took, owner, "answer", prompt=name, text="Rome, sure")]


def _fault(name: str, kind: str, t: float) -> Event:
    return _event(t, HOST, f"fault_{kind}", name=name, asked=t)


@pytest.fixture
def run() -> Measurements:
    """Ten seconds. From 2 s to 4 s a and b are parted: a's prompt takes 3 s, b's fails. From 6 s to 8 s b is away."""
    events = [
        _event(-1, "a", "ready", load_seconds=1),
        _event(-1, "b", "ready", load_seconds=1),
        *_prompt("p1", "a", 1, 0.5),
        *_prompt("p2", "b", 1, 0.5),
        _fault("partition-1", "begin", 2),
        *_prompt("p3", "a", 2.5, 3),
        *_prompt("p4", "b", 3, None),
        _fault("partition-1", "end", 4),
        _fault("crash", "begin", 6),
        _event(6, HOST, "exited", who="b", reason="ended with code 137"),
        _fault("crash", "end", 8),
        _fault("heal-1", "begin", 8),
        _event(8.5, "b", "ready", load_seconds=0.1),
        *_prompt("p5", "b", 9, 1),
    ]
    return Measurements(sorted(events, key=lambda event: event["t"]), {"a": 3000, "b": 5000})


def _judged(files: Any, run: Measurements, entry: str) -> list[Judgement]:
    text = files.scenario.partition("expect:")[0] + TIMELINE + f"expect: {{{entry}}}\n"
    scenario = files.load("workload.count=600", scenario=text)
    return list(judge(scenario, run, list(fault_records(scenario.timeline, run.events))))


# What is expected, what is said of it, and whether it holds.
EXPECTED = {
    'completed: ">= 1"': ("completed: expected >= 1, was 80 %", False),
    'during: partition-1, completed: ">= 0.5"': ("completed during partition-1: expected >= 0.5, was 50 %", True),
    'during: partition-1, latency.p95: "< 2s"': ("latency.p95 during partition-1: expected < 2s, was 3 s", False),
    'after: partition-1, completed: ">= 1"': ("completed after partition-1: expected >= 1, was 100 %", True),
    'after: partition-1, within: 5s, completed: ">= 1"': (
        "completed after partition-1 within 5s: expected >= 1, was nothing to measure",
        False,
    ),
    'after: heal-1, latency.p50: "<= 1s"': ("latency.p50 after heal-1: expected <= 1s, was 1 s", True),
    'during: crash, prompts: "== 0"': ("prompts during crash: expected == 0, was 0", True),
    'from: 1s, to: 2s, inferences: "== 2"': ("inferences from 1s to 2s: expected == 2, was 2", True),
    'from: 5s, to: 6s, queue.mean: "== 0.25"': ("queue.mean from 5s to 6s: expected == 0.25, was 0.25", True),
    'from: 2500ms, to: 4500ms, queue.max: "== 1"': ("queue.max from 2.5s to 4.5s: expected == 1, was 1", True),
    'from: 5s, to: 6s, tokens_per_second: "== 4"': (
        "tokens_per_second from 5s to 6s: expected == 4, was 4 tokens/s",
        True,
    ),
    'during: never, late: "== 0"': ("late during never: expected == 0, was nothing to measure", False),
    'after: never, late: "== 0"': ("late after never: expected == 0, was nothing to measure", False),
    'from: 10s, late: "== 0"': ("late from 10s: expected == 0, was nothing to measure", False),
    'node: b, completed: "> 0.6"': ("completed of b: expected > 0.6, was 66.7 %", True),
    'node: b, memory.peak: "< 4kB"': ("memory.peak of b: expected < 4kB, was 4.88 KiB", False),
    'node: a, during: partition-1, inferences: "== 0"': (
        "inferences of a during partition-1: expected == 0, was 0",
        True,
    ),
    "nodes: {a: running}": ("state of a: expected running, was running", True),
    "nodes: {b: exited}": ("state of b: expected exited, was running", False),
}


@pytest.mark.parametrize("entry", EXPECTED)
def test_an_expectation_looks_at_its_part_of_the_run(files: Any, run: Measurements, entry: str) -> None:
    (judgement,) = _judged(files, run, entry)
    assert (str(judgement), judgement.held) == EXPECTED[entry]


def test_each_of_all_nodes_is_judged_by_itself(files: Any, run: Measurements) -> None:
    judgements = _judged(files, run, 'nodes: all, completed: ">= 1", memory.peak: "< 4kB"')
    assert [(judgement.subject, judgement.held) for judgement in judgements] == [
        ("completed of a", True),
        ("memory.peak of a", True),
        ("completed of b", False),
        ("memory.peak of b", False),
    ]


@pytest.mark.parametrize(
    ("reason", "held"),
    [
        (None, {"running"}),
        ("ended with code 137", {"exited"}),
        ("out of memory", {"exited", "out of memory"}),
    ],
)
def test_a_node_that_is_out_of_memory_has_exited(files: Any, reason: str | None, held: set[str]) -> None:
    exits = [] if reason is None else [_event(1, HOST, "exited", who="b", reason=reason)]
    measured = Measurements([_event(-1, "b", "ready"), *exits], {})
    for state in ("running", "exited", "out of memory"):
        (judgement,) = _judged(files, measured, f"nodes: {{b: {state}}}")
        assert judgement.held == (state in held)
        assert judgement.value == (reason or "running")


def test_a_fault_that_lasts_is_in_force_until_the_end(files: Any) -> None:
    events = [
        _event(-1, "a", "ready"),
        _fault("crash", "begin", 2),
        *_prompt("p1", "a", 3, 1),
        *_prompt("p2", "a", 1, 1),
    ]
    measured = Measurements(sorted(events, key=lambda event: event["t"]), {})
    (judgement,) = _judged(files, measured, 'during: crash, prompts: "== 1"')
    assert judgement.held
