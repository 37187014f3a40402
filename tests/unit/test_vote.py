"""Votes: who is asked, who wins, what it costs, and when a vote ends early."""

from collections import Counter
from math import comb

import pytest
from participants import Made, answer_of, held_to_its_calls, in_turn, known

from testbed.patterns.horizontal.ballots import stays_ahead
from testbed.patterns.participant import JobError
from testbed.patterns.vote import Vote


def _vote(**options: object) -> Vote:
    return Vote.model_validate({"kind": "vote", **options})


FOUR = in_turn(a=["7, maybe"], b=["8, sure"], c=["7, maybe"], d=["9, unsure"])


def test_most_votes_win_and_by_confidence_the_surest() -> None:
    assert answer_of(_vote(), Made(FOUR)) == "7, maybe"
    assert answer_of(_vote(weigh="confidence"), Made(FOUR)) == "8, sure"


@pytest.mark.parametrize("signal", ["mean", "p10", "first"])
def test_log_probabilities_weigh_votes(signal: str) -> None:
    owner = Made(FOUR, probabilities={"a": -1.5, "b": -1.5, "c": -1.5, "d": -0.1})  # 2·e^-1.5 < e^-0.1
    assert answer_of(_vote(weigh="confidence", confidence=signal), owner) == "9, unsure"


def test_a_vote_by_log_probabilities_fails_without_them() -> None:
    with pytest.raises(JobError, match="has no log-probabilities"):
        answer_of(_vote(weigh="confidence", confidence="mean"), Made(FOUR))


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(
    ("members", "nodes"), [("self", "a"), ("all", "abcd"), (["c", "self"], "ca"), (["self", "a"], "a"), (["b"], "b")]
)
def test_each_member_is_asked_for_each_sample(members: object, nodes: str, samples: int) -> None:
    vote, owner = _vote(members=members, samples=samples), Made(FOUR)
    answer_of(vote, owner)
    assert Counter(node for node, _ in owner.calls) == dict.fromkeys(nodes, samples)
    assert vote.calls(owner.surroundings) == (len(nodes) * samples, len(nodes) * samples)
    assert len({(node, call.name) for node, call in owner.calls}) == len(owner.calls)


def test_of_equal_choices_the_earliest_wins() -> None:
    assert answer_of(_vote(), Made(in_turn(a=["1"], b=["2"], c=["2"], d=["1"]))) == "1"


def test_members_that_fail_or_are_away_do_not_vote() -> None:
    owner = Made(in_turn(a=["1"], b=[""], c=["2"], d=["2"]), absent="d")
    assert answer_of(_vote(), owner) == "1"
    assert [node for node, _ in owner.calls] == ["a", "b", "c"]


def test_a_prompt_fails_if_nobody_votes() -> None:
    with pytest.raises(JobError, match="none of a, b answered"):
        answer_of(_vote(), Made(in_turn(a=[""], b=[""]), others="b"))


def test_answers_without_a_normal_form_elect_nobody() -> None:
    assert answer_of(_vote(), Made(in_turn(a=[", sure"], b=[", sure"], c=["4"], d=[", sure"]))) == "4"


def test_a_vote_ends_once_the_leader_stays_ahead() -> None:
    """After v equal answers the chance is 1 − 2^−(v+1): four for 0.95, since 31/32 > 0.95 > 15/16."""
    vote, owner = _vote(members="self", samples=40, stop=0.95), Made(in_turn(a=["7"]))
    assert answer_of(vote, owner) == "7"
    assert len(owner.calls) == 4
    assert held_to_its_calls(vote, owner)


def test_a_close_vote_goes_on_to_its_end() -> None:
    vote, owner = _vote(members="self", samples=6, stop=0.95), Made(in_turn(a=["1", "2", "1", "2", "1", "2"]))
    assert answer_of(vote, owner) == "1"
    assert len(owner.calls) == 6


@pytest.mark.parametrize("first", range(8))
@pytest.mark.parametrize("second", range(8))
def test_the_chance_to_stay_ahead_is_that_of_the_beta_distribution(first: int, second: int) -> None:
    """For whole numbers P(p > ½) under Beta(v₁ + 1, v₂ + 1) is a sum over a binomial distribution of fair coins."""
    coins = first + second + 1
    assert stays_ahead(first, second) == pytest.approx(sum(comb(coins, k) for k in range(first + 1)) / 2**coins)


def test_what_decided_is_recorded() -> None:
    owner = Made(FOUR)
    answer_of(_vote(), owner)
    assert owner.decisions == [{"score": 0.5, "threshold": None, "reason": "votes: 7 2, 8 1, 9 1"}]


@pytest.mark.parametrize(
    ("members", "mistakes"),
    [
        ("linked", []),
        (["self", "b"], []),
        (["e"], ["there is no node 'e'; known are self, a, b"]),
        (["b", "b"], ["'b' is twice in `members`; name each node once"]),
    ],
)
def test_members_that_do_not_fit_the_topology(members: object, mistakes: list[str]) -> None:
    assert [message for _, message in _vote(members=members).mistakes(known("a", "b"), ["a"])] == mistakes


def test_a_node_called_self_cannot_be_named() -> None:
    (mistake,) = _vote(members=["self"]).mistakes(known("self", "b"), ["b"])
    assert mistake == (("members", 0), "`self` is the owner of a prompt, and a node has the same name; rename the node")


def test_the_load_on_each_node() -> None:
    line = {"a": ["b"], "b": ["a", "c"], "c": ["b"]}
    assert _vote(members="linked", samples=2).load(line) == {"a": {"answer": 4}, "b": {"answer": 6}, "c": {"answer": 4}}
    assert _vote(samples=2, stop=0.9).load(line) is None


NUMBERS = in_turn(a=["7"], b=["8"], c=["9000"], d=["9"])


def test_of_numbers_the_median_or_the_trimmed_mean_wins() -> None:
    """One liar moves neither as far as it likes: of 7, 8, 9, 9000 the middle two are 8 and 9."""
    assert answer_of(_vote(winner="median"), Made(NUMBERS)) == "8"
    assert answer_of(_vote(winner="trimmed-mean"), Made(NUMBERS)) == "8.5"


def test_weights_count_in_a_median_and_words_do_not() -> None:
    sure = in_turn(a=["7, unsure"], b=["8, unsure"], c=["9, sure"], d=["many, sure"])
    assert answer_of(_vote(winner="median", weigh="confidence"), Made(sure)) == "9, sure"
    assert answer_of(_vote(winner="median"), Made(sure)) == "8, unsure"


def test_a_median_of_words_fails() -> None:
    with pytest.raises(JobError, match="no answer is a number"):
        answer_of(_vote(winner="median"), Made(in_turn(a=["no"]), others=""))
