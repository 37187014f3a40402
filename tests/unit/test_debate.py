"""Debates: what each member reads, when a debate ends, and what it costs."""

import pytest
from participants import Made, answer_of, held_to_its_calls, in_turn, text_of

from testbed.patterns.debate import Debate
from testbed.patterns.participant import JobError

LINE = {"a": ["b"], "b": ["a", "c"], "c": ["b", "d"], "d": ["c"]}
SPLIT = in_turn(a=["1"], b=["2"], c=["3"], d=["4"])


def _debate(**options: object) -> Debate:
    return Debate.model_validate({"kind": "debate", **options})


def _opinions(owner: Made) -> int:
    """How many opinions members read of others, besides each its own."""
    return sum(text_of(call).count("Response-") - 1 for _, call in owner.calls if call.role == "aggregation")


@pytest.mark.parametrize("rounds", range(4))
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_debate_costs_n_times_r_plus_1_calls_and_everybody_reads_all_others(rounds: int, count: int) -> None:
    debate, owner = _debate(rounds=rounds), Made(SPLIT, others="bcd"[: count - 1])
    answer_of(debate, owner)
    assert debate.calls(owner.surroundings) == (len(owner.calls), len(owner.calls)) == (count * (rounds + 1),) * 2
    assert _opinions(owner) == count * (count - 1) * rounds
    assert sum(node != "a" for node, _ in owner.calls) == (count - 1) * (rounds + 1)  # two messages each
    assert max(call.layer for _, call in owner.calls) == debate.last_layer


def test_linked_members_read_each_other_alone() -> None:
    owner = Made(SPLIT, links=LINE)
    answer_of(_debate(rounds=2, read="linked"), owner)
    assert _opinions(owner) == 2 * sum(map(len, LINE.values()))
    (second,) = [text_of(call) for node, call in owner.calls if (node, call.layer) == ("c", 2)]
    assert second.splitlines()[:4] == ["Why?", "Response-1: 3", "Response-2: 2", "Response-3: 4"]


def test_the_last_opinions_vote() -> None:
    owner = Made(in_turn(a=["1", "2"], b=["1", "3"], c=["2", "2"], d=["4", "1"]))
    assert answer_of(_debate(rounds=0), Made(owner.answering)) == "1"
    owner = Made(in_turn(a=["1", "2"], b=["1", "3"], c=["2", "2"], d=["4", "1"]))
    assert answer_of(_debate(rounds=1), owner) == "2"


def test_a_unanimous_panel_ends_the_debate_if_asked_to() -> None:
    agreeing = {"a": ["1", "2"], "b": ["2"], "c": ["2"], "d": ["2"]}
    owner, debate = Made(in_turn(**agreeing)), _debate(rounds=3, stop="unanimous")
    assert answer_of(debate, owner) == "2"
    assert len(owner.calls) == 8
    assert held_to_its_calls(debate, owner)
    owner = Made(in_turn(**agreeing))
    answer_of(_debate(rounds=3), owner)
    assert len(owner.calls) == 16


def test_a_member_that_fails_keeps_its_opinion_and_one_without_is_not_read() -> None:
    owner = Made(in_turn(a=["1"], b=["2", ""], c=["", "2"]), others="bc")
    assert answer_of(_debate(rounds=1), owner) == "2"
    second = {node: text_of(call) for node, call in owner.calls if call.layer == 2}
    assert "Response-1: 1\nResponse-2: 2\n" in second["a"] and "Response-3" not in second["a"]
    assert "Response-1: 1\nResponse-2: 2\n" in second["c"]


def test_a_debate_fails_if_nobody_has_an_opinion() -> None:
    with pytest.raises(JobError, match="none of a, b answered"):
        answer_of(_debate(), Made(in_turn(a=[""], b=[""]), others="b"))


def test_the_load_on_each_node() -> None:
    load = _debate(members="linked", rounds=3).load(LINE)
    assert load == {
        node: {"answer": len(peers) + 1, "aggregation": 3 * (len(peers) + 1)} for node, peers in LINE.items()
    }
