"""What prompts cost, against what their pattern says."""

from typing import Any

import pytest

from testbed.analysis.measurements import Measurements
from testbed.analysis.verdict.costs import wrong_costs

CALLS = {"a": (3, 3)}


def _event(t: int, node: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"t": float(t), "node": node, "event": kind, **fields}


def _job(node: str, name: str) -> list[dict[str, Any]]:
    """A call of the prompt p1 of node a, with its two messages if another node works on it."""
    job = f"{name}@{node}"
    queued = _event(1, node, "enqueue", job=job, prompt="p1", owner="a")
    done = [queued, _event(2, node, "start", job=job), _event(3, node, "end", job=job, text="x")]
    request = _event(1, "a", "send", message=f"{job}/request", peer=node)
    response = _event(3, node, "send", message=f"{job}/response", peer="a")
    return done if node == "a" else [request, *done, response]


def _wrong(*events: dict[str, Any], answered: bool = True) -> list[str]:
    begin = [_event(0, "", "prompt", prompt="p1", owner="a", text="?", truth=None)]
    end = [_event(9, "a", "answer", prompt="p1", text="x")] if answered else []
    return list(wrong_costs(Measurements([*begin, *events, *end], {}), CALLS))


THREE = [*_job("a", "p1.1"), *_job("b", "p1.1"), *_job("c", "p1.1")]


def test_a_prompt_that_costs_what_its_pattern_says() -> None:
    assert _wrong(*THREE) == []


def test_a_call_too_few_and_one_too_many() -> None:
    assert _wrong(*THREE[:-5]) == ["prompt p1 of a took 2 calls, not 3"]
    assert _wrong(*THREE, *_job("d", "p1.1")) == ["prompt p1 of a took 4 calls, not 3"]


def test_a_call_that_its_node_never_heard_of() -> None:
    unheard = _event(4, "a", "ask_failed", message="p1.1@c/request", peer="c", reason="no connection")
    assert _wrong(*THREE[:-5], unheard) == []


def test_a_call_with_a_message_too_many() -> None:
    twice = _event(4, "b", "send", message="p1.1@b/response", peer="a")
    assert _wrong(*THREE, twice) == ["prompt p1 of a took 5 messages for 2 calls to other nodes"]


def test_calls_of_others_and_of_delegated_prompts_do_not_count() -> None:
    delegated = _event(4, "b", "enqueue", job="p1>b.1@b", prompt="p1", owner="b")
    foreign = _event(4, "b", "enqueue", job="chat-1")
    assert _wrong(*THREE, delegated, foreign) == []


@pytest.mark.parametrize(
    "trouble",
    [
        _event(4, "a", "ask_failed", message="p1.1@b/request", peer="b", reason="late"),
        _event(4, "a", "retry", message="p1.1@b/request-2", peer="b", reason="late"),
        _event(4, "b", "job_failed", job="p1.1@b", reason="too long"),
        _event(4, "a", "neighbour_lost", peer="c"),
    ],
)
def test_a_prompt_that_met_a_failure_can_cost_less_and_never_more(trouble: dict[str, Any]) -> None:
    assert _wrong(*THREE[:-5], trouble) == []
    assert _wrong(*THREE, *_job("d", "p1.1"), trouble) == ["prompt p1 of a took 4 calls, not 3"]


def test_a_prompt_without_an_answer_can_cost_less() -> None:
    assert _wrong(*THREE[:-5], answered=False) == []


def test_a_prompt_that_was_taken_up_again_is_not_judged() -> None:
    assert _wrong(*THREE, *_job("d", "p1.1"), _event(4, "a", "resumed", prompt="p1")) == []
