"""The base of prompt sources: the part of a scenario file that gives questions."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from pydantic import Field

from testbed.core.registry import Registry
from testbed.core.spec import Spec


@dataclass(frozen=True)
class Question:
    """A question of a user.

    ``truth`` is the correct answer, or None if no answer is right or wrong; answers in ``accepted`` are correct, too.
    ``label`` is the subject of the question.
    """

    text: str
    truth: str | None
    label: str = ""
    accepted: tuple[str, ...] = ()

    @property
    def truths(self) -> tuple[str, ...]:
        """Every correct answer."""
        return () if self.truth is None else (self.truth, *self.accepted)


class PromptSource(Spec):
    """A source of questions, with the options under ``prompts:`` of a workload."""

    scored_by: ClassVar[str] = "exact"
    """The scorer of a workload that names none."""

    source: str = Field(description="the source's name, or FILE.py:NAME from the scenario's directory")

    @abstractmethod
    def questions(self, count: int, seed: int) -> Sequence[Question]:
        """``count`` questions; equal seeds give equal questions."""


PROMPTS: Final[Registry[type[PromptSource]]] = Registry("testbed.prompts", "prompt source", PromptSource)
