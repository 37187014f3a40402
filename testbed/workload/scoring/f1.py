"""The F1 score of words, as in SQuAD's evaluation (Rajpurkar et al., arXiv 1606.05250)."""

from collections import Counter

from testbed.core.normalisation import words
from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer


class F1(Scorer):
    """Harmonic mean of precision and recall of the answer's words, by the truth that fits best, as in SQuAD."""

    def score(self, question: Question, answer: str) -> float | None:
        """From 0, no word in common, to 1, the same words; None for a question without a truth."""
        return max((_f1(truth, answer) for truth in question.truths), default=None)


def _f1(truth: str, answer: str) -> float:
    expected, given = Counter(words(truth).split()), Counter(words(answer).split())
    if not expected or not given:
        return float(expected == given)
    return 2 * (expected & given).total() / (expected.total() + given.total())
