"""The base of prompt sources with a finite number of questions."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field, field_validator

from testbed.core import seeds
from testbed.core.spec import Spec
from testbed.workload.prompts.base import PromptSource, Question


@dataclass(frozen=True)
class Entry:
    """A question, and the columns of the row that it was read from."""

    columns: Mapping[str, Any]
    question: Question


class Select(Spec):
    """Which questions of a collection are asked: those whose columns have the values of ``where``, and no more than
    ``count`` of them, drawn by ``seed``.
    """

    count: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    where: dict[str, Any] = Field(
        default_factory=dict, description="columns, each with the value or the list of values that it must have"
    )


class Collection(PromptSource):
    """Asks every question of a collection once, in a random order, before one is asked again."""

    system: str | None = Field(None, description="system message before each question")
    select: Select = Select()

    @abstractmethod
    def entries(self) -> Sequence[Entry]:
        """All questions; raises ValueError with the place of what is wrong."""

    def known(self) -> Sequence[Question]:
        """The questions that may be asked, in the order of the collection; raises ValueError."""
        chosen = [entry.question for entry in self.entries() if self._has(entry)]
        if not chosen:
            raise ValueError(f"no question has {self.select.where}" if self.select.where else "there are no questions")
        if self.select.count is not None:
            if self.select.count > len(chosen):
                raise ValueError(f"select.count: there are only {len(chosen)} questions")
            places = sorted(seeds.stream(self.select.seed, "select").sample(range(len(chosen)), self.select.count))
            chosen = [chosen[place] for place in places]
        return [self._led_to(question) for question in chosen]

    def questions(self, count: int, seed: int) -> Sequence[Question]:
        """All questions in a random order, again and again until there are ``count``."""
        generator, known = seeds.stream(seed, "questions"), self.known()
        asked: list[Question] = []
        while len(asked) < count:
            asked += generator.sample(known, len(known))
        return asked[:count]

    @field_validator("system")
    @classmethod
    def _check_system(cls, system: str | None) -> str | None:
        if system is not None and not system.strip():
            raise ValueError("is empty; leave it out for no system message")
        return system

    def _led_to(self, question: Question) -> Question:
        if self.system is None:
            return question
        return replace(question, before=({"role": "system", "content": self.system}, *question.before))

    def _has(self, entry: Entry) -> bool:
        for column, wanted in self.select.where.items():
            if column not in entry.columns:
                raise ValueError(f"select.where: there is no column {column!r}; there are {', '.join(entry.columns)}")
            values = wanted if isinstance(wanted, list) else [wanted]
            if str(entry.columns[column]) not in map(str, values):
                return False
        return True
