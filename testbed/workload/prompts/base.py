"""What every prompt source is: a part of the scenario file that gives questions."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from testbed.core.registry import Registry
from testbed.core.spec import Spec


@dataclass(frozen=True)
class Question:
    """What a user asks.

    ``truth`` is the correct answer, None where no answer is right or wrong; ``label`` says what the question is about.
    """

    text: str
    truth: str | None
    label: str = ""


class PromptSource(Spec):
    """Where questions come from: the options under ``prompts:`` of a workload."""

    source: str = Field(description="the source's name, or FILE.py:NAME from the scenario's directory")

    @abstractmethod
    def questions(self, count: int, seed: int) -> Sequence[Question]:
        """``count`` questions, the same for the same seed."""


PROMPTS: Final[Registry[type[PromptSource]]] = Registry("testbed.prompts", "prompt source", PromptSource)
