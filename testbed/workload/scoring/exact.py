"""Exact comparison with the truth."""

from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer


class Exact(Scorer):
    """1 if the part of the answer before its first comma equals the truth, else 0."""

    def score(self, question: Question, answer: str) -> float | None:
        """1.0 or 0.0, without regard to white space around the answer; None if the question has no truth."""
        if question.truth is None:
            return None
        return float(answer.partition(",")[0].strip() == question.truth)
