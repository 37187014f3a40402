"""What holds of every run: runs in which it does, whatever happened to them, and one for each way to break it."""

from typing import Any

import pytest

from testbed.analysis.events import HOST, Event
from testbed.analysis.measurements import Measurements
from testbed.analysis.verdict.invariants import broken_invariants

Steps = list[tuple[Any, ...]]


def _event(step: tuple[Any, ...], t: float) -> Event:
    """An event, written as (node, kind, what it is about); the fields that matter follow from these."""
    node, kind, *about = step
    named = {
        "prompt": ("prompt", "owner"),
        "exited": ("who",),
        "ask_failed": ("message",),
        "enqueue": ("job", "prompt"),
        **dict.fromkeys(("arrival", "resumed", "answer"), ("prompt",)),
        **dict.fromkeys(("failed", "lost"), ("prompt", "reason")),
        **dict.fromkeys(("start", "end", "dropped", "rejected"), ("job",)),
        **dict.fromkeys(("job_failed",), ("job", "reason")),
    }.get(kind, ())
    return {"t": t, "node": node, "event": kind, "text": "x", **dict(zip(named, about, strict=False))}


def _broken(steps: Steps) -> list[str]:
    beginning = [("a", "ready"), ("b", "ready"), (HOST, "prompt", "p1", "a"), ("a", "arrival", "p1")]
    return broken_invariants(Measurements([_event(step, t) for t, step in enumerate(beginning + steps)], {}))


def _done(node: str, job: str, prompt: str = "p1") -> Steps:
    return [(node, "enqueue", job, prompt), (node, "start", job), (node, "end", job)]


ANSWER = [("a", "answer", "p1")]
OWN, OTHERS = _done("a", "p1.1@a"), _done("b", "p1.1@b")
RESTART = [(HOST, "exited", "b"), ("b", "ready")]

HOLDS: dict[str, Steps] = {
    "answered": OWN + OTHERS + ANSWER,
    "failed": [*OWN[:2], ("a", "job_failed", "p1.1@a", "too long"), ("a", "failed", "p1", "too long")],
    "lost with its owner": [*OWN[:2], (HOST, "exited", "a"), (HOST, "lost", "p1", "a: out of memory")],
    "answered too late": [(HOST, "lost", "p1", "a: does not answer"), *OWN, *ANSWER],
    "answered to a host that did not hear it": [*OWN, *ANSWER, (HOST, "lost", "p1", "a: ended with code 137")],
    "taken up again by its owner": [
        *OWN[:2],
        (HOST, "exited", "a"),
        ("a", "ready"),
        ("a", "resumed", "p1"),
        *OWN,
        *ANSWER,
    ],
    "begun again after its node ended": [*OTHERS[:2], *RESTART, *OTHERS, *OWN, *ANSWER],
    "gone with a node that nobody saw end": [*OTHERS[:1], ("b", "ready"), *OWN, *ANSWER],
    "gone with a node for good": [*OTHERS[:2], (HOST, "exited", "b"), *OWN, *ANSWER],
    "still at work when its asker had given up": [*OTHERS[:2], *OWN, ("a", "ask_failed", "p1.1@b/request"), *ANSWER],
    "still waiting though its asker had given up": [*OTHERS[:1], ("a", "ask_failed", "p1.1@b/request"), *OWN, *ANSWER],
    "asked for in an earlier life": [
        *OTHERS[:2],
        (HOST, "exited", "a"),
        ("a", "ready"),
        ("a", "resumed", "p1"),
        *OWN,
        *ANSWER,
    ],
    "asked for by an owner that was lost": [*OTHERS[:2], (HOST, "exited", "a"), (HOST, "lost", "p1", "a: gone")],
    "dropped and asked for again": [
        *OWN[:2],
        ("b", "enqueue", "p1.1@b", "p1"),
        ("b", "dropped", "p1.1@b"),
        *OTHERS,
        OWN[2],
        *ANSWER,
    ],
    "refused": [("b", "rejected", "p1.1@b"), ("a", "ask_failed", "p1.1@b/request"), *OWN, *ANSWER],
    "several at work at once": [
        *OTHERS[:2],
        ("b", "enqueue", "p1.2@b", "p1"),
        ("b", "start", "p1.2@b"),
        OTHERS[2],
        ("b", "end", "p1.2@b"),
        *ANSWER,
    ],
    "another client's jobs of one name": [*OWN, *ANSWER, *[step[:3] for step in _done("b", "x@b")] * 2],
    "another client's job that is left": [*OWN, *ANSWER, ("b", "enqueue", "request-1@b")],
    "interrupted": [*OWN[:2], *OTHERS[:1], (HOST, "interrupted")],
}


@pytest.mark.parametrize("case", HOLDS)
def test_what_may_happen_breaks_nothing(case: str) -> None:
    assert _broken(HOLDS[case]) == []


BREAKS: dict[str, tuple[Steps, list[str]]] = {
    "no end": (OWN, ["prompt p1 of a did not end"]),
    "two answers": ([*OWN, *ANSWER, *ANSWER], ["prompt p1 of a ended 2 times: answer at 7.00 s, answer at 8.00 s"]),
    "answered and failed": (
        [*ANSWER, ("a", "failed", "p1", "too long")],
        ["prompt p1 of a ended 2 times: answer at 4.00 s, failed at 5.00 s"],
    ),
    "given up twice": (
        [(HOST, "lost", "p1", "gone")] * 2,
        ["prompt p1 of a ended 2 times: lost at 4.00 s, lost at 5.00 s"],
    ),
    "failed for no reason": ([("a", "failed", "p1", "")], ["prompt p1 of a failed without a reason"]),
    "done twice": ([*OTHERS, *OTHERS, *ANSWER], ["b did the job p1.1@b again at 8.00 s"]),
    "done twice, with a restart in between": (
        [*OTHERS, *RESTART, *OTHERS, *ANSWER],
        ["b did the job p1.1@b again at 10.00 s"],
    ),
    "failed and done all the same": (
        [*OTHERS[:2], ("b", "job_failed", "p1.1@b", "too long"), *OTHERS, *ANSWER],
        ["b did the job p1.1@b again at 8.00 s"],
    ),
    "passed over": (
        [*OTHERS[:1], *_done("b", "p1.2@b"), ("a", "ask_failed", "p1.1@b/request"), *ANSWER],
        ["b began the job p1.2@b out of its turn at 6.00 s"],
    ),
    "begun again while it is at it": (
        [*OTHERS[:1], OTHERS[0], OTHERS[1], *OTHERS[1:], *ANSWER, ("a", "ask_failed", "p1.1@b/request")],
        ["b did the job p1.1@b again at 7.00 s"],
    ),
    "dropped while it is at it": (
        [*OTHERS[:2], ("b", "dropped", "p1.1@b"), OTHERS[2], *ANSWER],
        ["b dropped the job p1.1@b, which was not waiting, at 6.00 s"],
    ),
    "taken up again from a queue that went with its node": (
        [*OTHERS[:2], *RESTART, OTHERS[2], *ANSWER],
        ["b ended the job p1.1@b, which had not begun, at 8.00 s"],
    ),
    "left though nobody gave it up": (
        [*OTHERS[:2], *OWN, *ANSWER],
        ["b still has the job p1.1@b, though p1 was answered and nobody gave the job up"],
    ),
    "the owner's own job left": (
        [*OWN[:1], *ANSWER],
        ["a still has the job p1.1@a, though p1 was answered and nobody gave the job up"],
    ),
    "twice, and then interrupted": (
        [*OTHERS, *OTHERS, (HOST, "interrupted")],
        ["b did the job p1.1@b again at 8.00 s"],
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_must_not_happen_is_told_with_prompt_job_and_node(case: str) -> None:
    steps, sentences = BREAKS[case]
    assert _broken(steps) == sentences


def test_an_empty_run_breaks_nothing() -> None:
    assert broken_invariants(Measurements([], {})) == []
