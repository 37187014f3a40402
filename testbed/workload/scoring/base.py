"""The base of scorers: the part of a scenario file that judges answers."""

from abc import abstractmethod
from typing import ClassVar, Final

from pydantic import Field

from testbed.core.registry import Registry
from testbed.core.spec import Spec
from testbed.workload.prompts.base import Question


class Scorer(Spec):
    """Judges each answer once, when it arrives."""

    version: ClassVar[str] = "1"
    """Recorded with every score. Change it when the same answer would get another score."""

    scorer: str = Field(description="the scorer's name, or FILE.py:NAME from the scenario's directory")

    @abstractmethod
    def score(self, question: Question, answer: str) -> float | None:
        """The score, from 0 (wrong) to 1 (right); None if the question has no truth."""


SCORERS: Final[Registry[type[Scorer]]] = Registry("testbed.scorers", "scorer", Scorer)
