"""The letter of a choice."""

from typing import ClassVar

from testbed.core.normalisation import Normalisation, words
from testbed.workload.prompts.base import LETTERS, Question
from testbed.workload.scoring.base import Comparison


class Choice(Comparison):
    """1 if the answer names the letter of the right choice, or is that choice's text, else 0."""

    normalisation: ClassVar[Normalisation] = "choice"
    noun: ClassVar[str] = "letter of a choice"

    def score(self, question: Question, answer: str) -> float | None:
        """1.0 or 0.0; None if the question has no truth. An answer that is a choice's text names its letter."""
        texts = list(map(words, question.choices))
        if words(answer) and texts.count(words(answer)) == 1:
            answer = LETTERS[texts.index(words(answer))]
        return super().score(question, answer)
