"""The base of scorers: the part of a scenario file that judges answers."""

from abc import abstractmethod
from typing import ClassVar, Final

from pydantic import Field

from testbed.core.normalisation import Normalisation, normalised
from testbed.core.registry import Registry
from testbed.core.spec import Spec
from testbed.workload.prompts.base import Question


class Scorer(Spec):
    """Judges each answer once, when it arrives."""

    version: ClassVar[str] = "1"
    """Recorded with every score. Change it when the same answer would get another score."""

    normalisation: ClassVar[Normalisation] = "words"
    """The normal form in which patterns compare answers with each other, as votes do."""

    scorer: str = Field(description="the scorer's name, or FILE.py:NAME from the scenario's directory")

    @abstractmethod
    def score(self, question: Question, answer: str) -> float | None:
        """The score, from 0 (wrong) to 1 (right); None if the question has no truth."""

    def stated(self, answer: str) -> str:
        """``answer`` in the form of a model that is sure of it."""
        return answer

    def objection(self, question: Question) -> str | None:
        """Why no answer to ``question`` could be judged, though it has a truth; None if answers can be judged."""
        del question
        return None


class Comparison(Scorer):
    """A scorer whose right answers have the normal form of a truth; ``noun`` says what a truth must be."""

    noun: ClassVar[str] = "text"

    def score(self, question: Question, answer: str) -> float | None:
        """1.0 or 0.0; None if the question has no truth."""
        if not question.truths:
            return None
        return float(self._normal(answer) in map(self._normal, question.truths))

    def objection(self, question: Question) -> str | None:
        """A truth without a normal form equals no answer."""
        formless = [truth for truth in question.truths if not self._normal(truth)]
        return f"the truth {formless[0]!r} is no {self.noun}" if formless else None

    def _normal(self, text: str) -> str:
        return normalised(text, self.normalisation)


SCORERS: Final[Registry[type[Scorer]]] = Registry("testbed.scorers", "scorer", Scorer)
