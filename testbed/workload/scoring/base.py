"""What every scorer is: a part of the scenario file that judges answers."""

from abc import abstractmethod
from typing import ClassVar, Final

from pydantic import Field

from testbed.core.registry import Registry
from testbed.core.spec import Spec
from testbed.workload.prompts.base import Question


class Scorer(Spec):
    """Judges an answer once, when it comes."""

    version: ClassVar[str] = "1"
    """Recorded with every score; it changes when the same answer is judged otherwise."""

    scorer: str = Field(description="the scorer's name, or FILE.py:NAME from the scenario's directory")

    @abstractmethod
    def score(self, question: Question, answer: str) -> float | None:
        """From 0 (wrong) to 1 (right); None where the question has no truth."""


SCORERS: Final[Registry[type[Scorer]]] = Registry("testbed.scorers", "scorer", Scorer)
