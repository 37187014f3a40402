"""The score of one answer, as a run records it."""

import math
from dataclasses import dataclass

from testbed.core.registry import recorded_name
from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer


@dataclass(frozen=True)
class Score:
    """The scorer's name and version, and ``value``, from 0 to 1; or None and the ``reason``."""

    scorer: str
    version: str
    value: float | None
    reason: str | None = None


def score_answer(scorer: Scorer, question: Question, answer: str) -> Score:
    """The score of ``answer``. A scorer that raises, or returns no number from 0 to 1, gives None with the reason."""
    name = recorded_name(scorer.scorer)
    try:
        value = scorer.score(question, answer)
    except Exception as error:  # whatever the scorer's own code raises
        return Score(name, scorer.version, None, f"{type(error).__name__}: {error}")
    reason = _objection(value, question)
    return Score(name, scorer.version, None if reason or value is None else float(value), reason)


def _objection(value: object, question: Question) -> str | None:
    if value is None and question.truth is None:
        return question.unjudged or "the question has no truth"
    if value is None:
        return "the scorer gave no value"
    if not isinstance(value, int | float) or math.isnan(value) or not 0 <= value <= 1:
        return f"the scorer gave {value!r}, which is no number from 0 to 1"
    return None
