"""The rules by which a route chooses: a score of the prompt and a threshold."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from testbed.core.input_files import InputFile
from testbed.core.spec import Spec
from testbed.patterns.base import Mistake
from testbed.patterns.participant import Participant, Prompt
from testbed.patterns.vertical.routers.router import Router


@dataclass(frozen=True)
class Choice:
    """The stage that a rule chose, with the probability of this choice."""

    strong: bool
    score: float
    threshold: float
    propensity: float = 1.0


class ByLength(Spec):
    """Long prompts go to the strong stage: the baseline that a better score must beat."""

    score: Literal["length"]
    above: float = Field(ge=0, allow_inf_nan=False, description="the least number of characters that goes there")

    def mistakes(self) -> Iterator[Mistake]:
        """Any length is a threshold."""
        yield from ()

    def choose(self, prompt: Prompt, owner: Participant) -> Choice:
        """The choice for ``prompt``."""
        del owner
        return Choice(len(prompt.text) >= self.above, float(len(prompt.text)), self.above)


class ByChance(Spec):
    """Chance decides."""

    score: Literal["random"]
    above: float = Field(ge=0, allow_inf_nan=False, description="the share of prompts that the weak stage answers")

    def mistakes(self) -> Iterator[Mistake]:
        """What is no probability."""
        if self.above > 1:
            yield ("above",), f"{self.above:g} is no threshold of `random`, which is from 0 to 1"

    def choose(self, prompt: Prompt, owner: Participant) -> Choice:
        """The choice for ``prompt``."""
        score = owner.random("route", prompt.id).random()
        strong = score >= self.above
        return Choice(strong, score, self.above, 1.0 - self.above if strong else self.above)


class ByRouter(Spec):
    """A fitted router scores the gain that a prompt has from the strong stage."""

    score: Literal["router"]
    router: InputFile = Field(description="the file that `testbed router fit` made")
    above: float | None = Field(None, ge=0, le=1, description="the least score that goes to the strong stage")
    share: float | None = Field(None, ge=0, le=1, description="or the share of the calibration prompts that does")

    @model_validator(mode="after")
    def _check(self) -> "ByRouter":
        if (self.above is None) == (self.share is None):
            raise ValueError("say either `above`, a score, or `share`, a share of prompts")
        return self

    @cached_property
    def _router(self) -> Router:
        return Router.load(Path(self.router))

    @cached_property
    def _threshold(self) -> float:
        if self.above is not None:
            return self.above
        assert self.share is not None  # checked above
        return self._router.threshold(self.share)

    def mistakes(self) -> Iterator[Mistake]:
        """Why the file is no router for this."""
        try:
            if self._router.reads_answers:
                yield ("router",), "this router reads the weak stage's answer, which a route does not have; use cascade"
        except ValueError as error:
            yield ("router",), str(error)

    def choose(self, prompt: Prompt, owner: Participant) -> Choice:
        """The choice for ``prompt``."""
        del owner
        score = self._router.score(prompt.text)
        return Choice(score >= self._threshold, score, self._threshold)


Rule = Annotated[ByLength | ByChance | ByRouter, Field(discriminator="score")]
