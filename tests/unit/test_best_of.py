"""Best-of-n: the surest answer, or the one that wins the comparisons."""

import re

import pytest
from participants import Made, answer_of, held_to_its_calls, in_turn, text_of

from testbed.patterns.best_of import BestOf
from testbed.patterns.participant import Call


def _best_of(**options: object) -> BestOf:
    return BestOf.model_validate({"kind": "best-of", **options})


def test_the_surest_answer_wins_by_the_signal() -> None:
    owner = Made(in_turn(a=["1, sure"], b=["2, unsure"]), others="b", probabilities={"a": -0.9, "b": -0.2})
    assert answer_of(_best_of(members="all", confidence="word"), owner) == "1, sure"
    assert answer_of(_best_of(members="all"), owner) == "2, unsure"


def test_samples_of_the_owner_alone_cost_as_many_inferences() -> None:
    owner, best_of = Made(in_turn(a=["1, unsure", "2, sure", "3, maybe"])), _best_of(samples=3, confidence="word")
    assert answer_of(best_of, owner) == "2, sure"
    assert best_of.calls(owner.surroundings) == (3, 3) == (len(owner.calls),) * 2


def _judge(node: str, call: Call) -> str:
    """The judge prefers the larger of two numbers; alone, nodes answer 3, 9, 9 and 4."""
    numbers = re.findall(r"^[AB]: (\d)$", text_of(call), re.MULTILINE)
    if call.role == "comparison":
        return "A" if numbers[0] > numbers[1] else "The better one is B."
    return {"a": "3", "b": "9", "c": "9", "d": "4"}[node]


def test_pairwise_ranking_compares_different_answers_and_keeps_the_preferred() -> None:
    best_of, owner = _best_of(members="all", rank="pairwise"), Made(_judge)
    assert answer_of(best_of, owner) == "9"
    compared = [text_of(call).splitlines()[1:3] for _, call in owner.calls if call.role == "comparison"]
    assert compared == [["A: 3", "B: 9"], ["A: 9", "B: 4"]]
    assert best_of.calls(owner.surroundings) == (4, 7)
    assert held_to_its_calls(best_of, owner)


@pytest.mark.parametrize("verdict", ["A", "neither", "both are bad"])
def test_a_judge_that_does_not_prefer_the_second_keeps_the_first(verdict: str) -> None:
    owner = Made(in_turn(a=["1", verdict], b=["2"]), others="b")
    assert answer_of(_best_of(members="all", rank="pairwise"), owner) == "1"
