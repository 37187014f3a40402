"""Hierarchies: how a prompt is split, who works on it, what the leader merges, and what it costs."""

import pytest
from participants import Made, answer_of, in_turn, known, text_of

from testbed.patterns.hierarchy import Hierarchy
from testbed.patterns.participant import Call, JobError


def _hierarchy(**options: object) -> Hierarchy:
    return Hierarchy.model_validate({"kind": "hierarchy", **options})


def _echo(node: str, call: Call) -> str:
    return {"split": "First?\n\nSecond?\nThird?", "aggregation": "merged"}.get(call.role, f"{node} on {text_of(call)}")


def _parts(owner: Made) -> dict[str, str]:
    return {node: text_of(call) for node, call in owner.calls if call.role == "answer"}


@pytest.mark.parametrize(
    ("options", "question", "parts", "calls"),
    [
        ({}, "One. Two.", {"b": "One. Two.", "c": "One. Two.", "d": "One. Two."}, (4, 4)),
        ({"split": "sentences"}, "One? Two. Three! Four.", {"b": "One?\nFour.", "c": "Two.", "d": "Three!"}, (2, 4)),
        ({"split": "lines"}, "One.\nTwo.", {"b": "One.", "c": "Two."}, (2, 4)),
        ({"split": "model"}, "One.", {"b": "First?", "c": "Second?", "d": "Third?"}, (3, 5)),
        ({"workers": ["self", "d"], "split": "model"}, "One.", {"a": "First?\nThird?", "d": "Second?"}, (3, 4)),
    ],
)
def test_workers_get_their_parts_and_the_leader_merges(
    options: dict[str, object], question: str, parts: dict[str, str], calls: tuple[int, int]
) -> None:
    hierarchy, owner = _hierarchy(**options), Made(_echo)
    assert answer_of(hierarchy, owner, question) == "merged"
    assert _parts(owner) == parts
    assert hierarchy.calls(owner.surroundings) == calls
    assert len(owner.calls) == len(parts) + 1 + (options.get("split") == "model")
    leader, merging = owner.calls[-1]
    assert (leader, merging.layer) == ("a", hierarchy.last_layer)
    expected = [question, *(f"Response-{n}: {node} on {part}" for n, (node, part) in enumerate(parts.items(), 1))]
    assert text_of(merging).startswith("\n".join(expected))


def test_a_worker_that_fails_is_left_out_and_without_any_the_prompt_fails() -> None:
    owner = Made(in_turn(a=["merged"], b=[""], c=["7"]), others="bc")
    assert answer_of(_hierarchy(), owner) == "merged"
    assert "Response-1: 7\nWeigh" in text_of(owner.calls[-1][1])
    with pytest.raises(JobError, match="none of b answered"):
        answer_of(_hierarchy(), Made(in_turn(b=[""]), others="b"))


def test_prompts_arrive_at_the_leader() -> None:
    assert _hierarchy(leader="b").owners(known("a", "b")) == ["b"]
    assert _hierarchy().owners(known("a", "b")) == ["a", "b"]
    (mistake,) = _hierarchy(leader="e").mistakes(known("a", "b"), ["e"])
    assert mistake == (("leader",), "there is no node 'e'; known are a, b")


def test_the_load_on_each_node() -> None:
    mesh = {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}
    assert _hierarchy().load(mesh) == {key: {"answer": 2, "aggregation": 1} for key in "abc"}
    led = _hierarchy(leader="a").load(mesh)
    assert led == {"a": {"answer": 0, "aggregation": 1}, **{key: {"answer": 1, "aggregation": 0} for key in "bc"}}
