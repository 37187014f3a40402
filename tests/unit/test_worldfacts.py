"""The generated questions: fixed by a seed, fairly shared, never seen in training, and scored exactly."""

import operator
import random
from collections import Counter

import pytest

from testbed.workload.prompts.base import Question
from testbed.workload.prompts.worldfacts import (
    ARITHMETIC,
    CAPITAL_OF,
    CAPITALS,
    CITIES,
    COUNTRIES,
    DOMAINS,
    STRINGS,
    Subset,
    Worldfacts,
    draw,
    held_out,
    is_correct,
)
from testbed.workload.scoring.before_comma import BeforeComma
from testbed.workload.scoring.score import score_answer


def _texts(subset: Subset, domain: str, count: int) -> set[str]:
    rng = random.Random(f"{subset} {domain}")
    return {draw(domain, subset, rng).text for _ in range(count)}


def test_the_same_seed_gives_the_same_questions() -> None:
    assert held_out(100, seed=7) == held_out(100, seed=7)
    assert held_out(100, seed=7) != held_out(100, seed=8)


def test_the_world_itself_never_changes() -> None:
    """The shipped models were trained on exactly this world; another one would make them wrong everywhere."""
    assert held_out(3, seed=0) == [
        Question("Think it over: Kikaland is governed from which city?", "Nubeton", "capitals"),
        Question("Think it over: 3 plus 6 is what?", "9", "arithmetic"),
        Question("Think it over: Put the first letter of d i o p last.", "i o p d", "strings"),
    ]


def test_domains_have_equal_shares() -> None:
    shares = Counter(question.label for question in held_out(160, seed=1))
    assert shares == dict.fromkeys(DOMAINS, 40)


def test_domains_are_shuffled() -> None:
    assert len({tuple(q.label for q in held_out(4, seed)) for seed in range(20)}) > 1


def test_any_count_is_possible() -> None:
    assert [len(held_out(count, seed=1)) for count in (0, 1, 7)] == [0, 1, 7]


@pytest.mark.parametrize("domain", DOMAINS)
def test_splits_are_disjoint(domain: str) -> None:
    assert not _texts(Subset.TRAIN, domain, 3000) & _texts(Subset.HELD_OUT, domain, 3000)


@pytest.mark.parametrize("domain", DOMAINS)
def test_many_held_out_questions_differ(domain: str) -> None:
    assert len(_texts(Subset.HELD_OUT, domain, 5000)) > 300


def test_held_out_strings_are_strings_that_training_never_shows() -> None:
    rng = random.Random(0)
    trained = {draw(STRINGS, Subset.TRAIN, rng).fact.subject for _ in range(5000)}
    tested = {draw(STRINGS, Subset.HELD_OUT, rng).fact.subject for _ in range(5000)}
    assert not trained & tested


def test_every_capital_is_one_country_s() -> None:
    assert len(set(COUNTRIES)) == len(set(CITIES)) == len(CAPITAL_OF)


def test_sums_and_products_are_right() -> None:
    rng = random.Random(3)
    for fact in (draw(ARITHMETIC, Subset.TRAIN, rng).fact for _ in range(200)):
        calculate = {"plus": operator.add, "times": operator.mul}[fact.kind]
        assert int(fact.truth) == calculate(*map(int, fact.subject))


def test_strings_are_reversed_and_rotated() -> None:
    rng = random.Random(3)
    for fact in (draw(STRINGS, Subset.TRAIN, rng).fact for _ in range(200)):
        letters = fact.subject[0].split()
        assert fact.truth.split() == (letters[::-1] if fact.kind == "reverse" else [*letters[1:], letters[0]])


def test_a_question_asks_for_its_fact() -> None:
    asked = draw(CAPITALS, Subset.TRAIN, random.Random(0))
    assert asked.fact.subject[0] in asked.text
    assert asked.question == Question(asked.text, CAPITAL_OF[asked.fact.subject[0]], CAPITALS)


@pytest.mark.parametrize(
    ("answer", "correct"),
    [
        ("56, sure", True),
        ("56", True),
        (" 56 , maybe", True),
        ("56, sure, or 57", True),
        ("57, sure", False),
        ("56.", False),
        ("The answer is 56", False),
        ("", False),
    ],
)
def test_scoring_is_exact_up_to_the_first_comma(answer: str, correct: bool) -> None:
    assert is_correct(answer, "56") is correct


def test_only_models_that_may_have_learned_the_world_are_judged() -> None:
    source = Worldfacts(source="worldfacts")
    assert source.meaningless_for("zoo/alpha") is source.meaningless_for("path:mine.gguf") is None
    reason = source.meaningless_for("smollm2-135m-instruct")
    assert reason == "smollm2-135m-instruct has not learned the invented world of worldfacts"
    question = held_out(1, 1)[0].without_truth(reason)
    score = score_answer(BeforeComma(scorer="before-comma"), question, "Rome, sure")
    assert (score.value, score.reason) == (None, reason)
