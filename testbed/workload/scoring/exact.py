"""Right or wrong, to the letter."""

from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer


class Exact(Scorer):
    """1 if the part of the answer before its first comma is exactly the truth, else 0."""

    def score(self, question: Question, answer: str) -> float | None:
        """White space around the answer does not count."""
        if question.truth is None:
            return None
        return float(answer.partition(",")[0].strip() == question.truth)
