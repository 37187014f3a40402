"""The base of prompt sources: the part of a scenario file that gives questions."""

import string
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import Field

from testbed.core.chat import ChatMessage
from testbed.core.registry import Registry
from testbed.core.spec import Spec
from testbed.workload.arrivals.base import Lengths

LETTERS: Final = string.ascii_uppercase
"""The names of choices, in their order."""


@dataclass(frozen=True)
class Question:
    """A question of a user.

    ``truth`` is the correct answer, or None if no answer is right or wrong; answers in ``accepted`` are correct, too.
    ``label`` is the subject of the question, and ``id`` its name in its source. ``choices`` are those of a
    multiple-choice question, whose truth is a letter. A ``secret`` question stays on its owner's device.

    ``before`` is the chat that leads to the question, and ``turns`` are what the user says after its answer, in their
    order. ``allowed`` are the only answers that a model may give, if any; ``tokens`` is how many its answer has, if
    that is said. ``place`` is the file and line that it stands in. ``unjudged`` says why a question has lost its truth.
    """

    text: str
    truth: str | None
    label: str = ""
    accepted: tuple[str, ...] = ()
    id: str = ""
    choices: tuple[str, ...] = ()
    secret: bool = False
    before: tuple[ChatMessage, ...] = ()
    turns: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    tokens: int | None = None
    place: str = field(default="", compare=False)
    unjudged: str = ""

    @property
    def truths(self) -> tuple[str, ...]:
        """Every correct answer."""
        return () if self.truth is None else (self.truth, *self.accepted)

    def constrained(self) -> "Question":
        """The question whose answer must be the letter of a choice."""
        return replace(self, allowed=tuple(LETTERS[: len(self.choices)]))

    def without_truth(self, reason: str) -> "Question":
        """The question where no answer means anything, for ``reason``."""
        return replace(self, truth=None, accepted=(), unjudged=reason)

    def after(self, answer: str) -> "Question | None":
        """The question of the next turn, once this one has been answered; None after the last."""
        if not self.turns:
            return None
        said: tuple[ChatMessage, ...] = (
            {"role": "user", "content": self.text},
            {"role": "assistant", "content": answer},
        )
        return replace(self, text=self.turns[0], turns=self.turns[1:], before=(*self.before, *said))

    def recorded(self) -> dict[str, Any]:
        """The fields of the event ``prompt``: all that is known of the question."""
        optional = ("label", "accepted", "id", "choices", "secret", "before", "allowed", "tokens")
        known = {name: getattr(self, name) for name in optional if getattr(self, name)}
        return {"text": self.text, "truth": self.truth, **known}


class PromptSource(Spec):
    """A source of questions, with the options under ``prompts:`` of a workload."""

    source: str = Field(description="the source's name, or FILE.py:NAME from the scenario's directory")

    @property
    def scored_by(self) -> str:
        """The scorer of a workload that names none."""
        return "exact"

    def known(self) -> Sequence[Question]:
        """The questions that may be asked, where they are all known before play; else none."""
        return ()

    def meaningless_for(self, model: str) -> str | None:
        """Why answers of ``model``, as a topology names it, mean nothing; None if they can be judged."""
        del model
        return None

    @abstractmethod
    def questions(self, count: int, seed: int) -> Sequence[Question]:
        """``count`` questions; equal seeds give equal questions."""


class SizedSource(PromptSource):
    """A source whose texts are as long as the arrivals say."""

    @abstractmethod
    def sized(self, lengths: Iterable[Lengths], seed: int) -> Sequence[Question]:
        """A question for each of the ``lengths``; equal seeds give equal questions."""

    def questions(self, count: int, seed: int) -> Sequence[Question]:
        """``count`` questions of one token."""
        return self.sized([Lengths(1, 1)] * count, seed)


PROMPTS: Final[Registry[type[PromptSource]]] = Registry("testbed.prompts", "prompt source", PromptSource)
