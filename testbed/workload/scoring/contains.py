"""Search for the truth in an answer."""

from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer


class Contains(Scorer):
    """1 if a truth is part of the answer, in capitals or not, else 0."""

    def score(self, question: Question, answer: str) -> float | None:
        """1.0 or 0.0; None if the question has no truth."""
        if not question.truths:
            return None
        return float(any(truth.casefold() in answer.casefold() for truth in question.truths))

    def objection(self, question: Question) -> str | None:
        """Every answer contains an empty truth."""
        return "the truth is empty" if "" in question.truths else None
