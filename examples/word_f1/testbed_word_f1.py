"""The F1 score of words, as SQuAD has it (Rajpurkar et al., arXiv 1606.05250)."""

from collections import Counter

from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer


class WordF1(Scorer):
    """Harmonic mean of precision and recall of the answer's words; case and punctuation do not count."""

    def score(self, question: Question, answer: str) -> float | None:
        """From 0, no word in common, to 1, the same words; None for a question without a truth."""
        if question.truth is None:
            return None
        expected, given = words(question.truth), words(answer)
        common = (expected & given).total()
        return 2 * common / ((expected.total() + given.total()) or 1)


def words(text: str) -> Counter[str]:
    """How often each word is in a text."""
    letters = "".join(letter if letter.isalnum() else " " for letter in text.lower())
    return Counter(letters.split())
