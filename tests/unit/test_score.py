"""An answer is judged once, and a scorer that fails is recorded as null with the reason."""

import math
from typing import Any

import pytest

from testbed.schema.workload import Workload
from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer
from testbed.workload.scoring.before_comma import BeforeComma
from testbed.workload.scoring.exact import Exact
from testbed.workload.scoring.score import Score, score_answer

ROME = Question("What is the capital of Italy?", "Rome")


class Given(Scorer):
    """Gives what it is told."""

    value: Any = None

    def score(self, question: Question, answer: str) -> float | None:  # noqa: ARG002
        """Raises what is an error."""
        if isinstance(self.value, Exception):
            raise self.value
        return self.value  # type: ignore[no-any-return]


@pytest.mark.parametrize(("answer", "value"), [("Rome, sure", 1.0), (" Rome ", 1.0), ("Oslo, maybe", 0.0)])
def test_before_comma_compares_what_stands_before_the_first_comma(answer: str, value: float) -> None:
    assert score_answer(BeforeComma(scorer="before-comma"), ROME, answer) == Score("before-comma", "1", value)


@pytest.mark.parametrize(("answer", "value"), [("the rome!", 1.0), ("City of Rome", 1.0), ("Rome, sure", 0.0)])
def test_exact_compares_as_squad_does_with_every_accepted_answer(answer: str, value: float) -> None:
    question = Question("Which city?", "Rome", accepted=("city of Rome",))
    assert score_answer(Exact(scorer="exact"), question, answer) == Score("exact", "2", value)


def test_a_source_names_the_scorer_of_a_workload_that_names_none() -> None:
    written = {"prompts": "worldfacts", "arrivals": {"rate": "2/s"}, "count": 1}
    assert isinstance(Workload.model_validate(written).scorer, BeforeComma)
    assert isinstance(Workload.model_validate(written | {"scorer": "exact"}).scorer, Exact)


def test_an_answer_to_a_question_without_a_truth_has_no_score() -> None:
    score = score_answer(Exact(scorer="exact"), Question("?", None), "Rome")
    assert score == Score("exact", "2", None, "the question has no truth")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (ValueError("no network"), "ValueError: no network"),
        (math.nan, "the scorer gave nan, which is no number from 0 to 1"),
        (1.5, "the scorer gave 1.5, which is no number from 0 to 1"),
        ("right", "the scorer gave 'right', which is no number from 0 to 1"),
        (None, "the scorer gave no value"),
    ],
)
def test_a_scorer_that_fails_is_null_with_the_reason(value: Any, reason: str) -> None:
    scorer = Given.model_construct(scorer="/home/me/mine.py:Given", value=value)
    assert score_answer(scorer, ROME, "Rome") == Score("mine.py:Given", "1", None, reason)
