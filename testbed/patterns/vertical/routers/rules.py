"""The rules by which a route chooses: a score of the prompt and a threshold."""

import math
import random
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from testbed.core.input_files import InputFile
from testbed.core.spec import Spec
from testbed.patterns.base import Mistake
from testbed.patterns.participant import Participant, Prompt
from testbed.patterns.vertical.routers.bandit import Arm, Estimate, Features
from testbed.patterns.vertical.routers.features import hashed_words
from testbed.patterns.vertical.routers.router import Router

_HASH_SEED: Final = 0  # of the words; the arms of all nodes and runs have the same features


@dataclass(frozen=True)
class Choice:
    """The stage that a rule chose, with the probability of this choice."""

    strong: bool
    score: float
    threshold: float
    propensity: float = 1.0


class RoutingRule(Spec):
    """Chooses the stage that answers a prompt."""

    @property
    def learns(self) -> bool:
        """Whether it goes by feedback on earlier prompts."""
        return False

    def mistakes(self) -> Iterator[Mistake]:
        """What in its options does not fit the files that it names."""
        yield from ()

    @abstractmethod
    def choose(self, prompt: Prompt, owner: Participant) -> Choice:
        """The choice for ``prompt``, which is at ``owner``."""

    def learn(self, prompt: str, reward: float) -> None:
        """Take in how right the answer to the prompt called ``prompt`` was, from 0 to 1."""

    def forget(self, prompt: str) -> None:
        """The stage that was chosen for the prompt called ``prompt`` did not answer it."""


class ByLength(RoutingRule):
    """Long prompts go to the strong stage: the baseline that a better score must beat."""

    score: Literal["length"]
    above: float = Field(ge=0, allow_inf_nan=False, description="the least number of characters that goes there")

    def choose(self, prompt: Prompt, owner: Participant) -> Choice:
        """The choice for ``prompt``."""
        del owner
        return Choice(len(prompt.text) >= self.above, float(len(prompt.text)), self.above)


class ByChance(RoutingRule):
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


class ByRouter(RoutingRule):
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


class ByBandit(RoutingRule):
    """A rule that learns in the run which prompts the strong stage is worth its penalty on.

    The reward of a prompt is how right its answer was, less ``penalty`` where the strong stage gave it. ``uncertainty``
    is the weight of what is not known of a reward yet.
    """

    penalty: float = Field(0.2, ge=0, le=1, description="what a strong call costs, where a right answer is worth 1")
    uncertainty: float
    explore: float = Field(0.05, ge=0, lt=1, description="the share of prompts for which chance chooses the stage")
    buckets: int = Field(128, ge=2, le=512, description="features of a prompt: hashed words, and a constant")

    @property
    def learns(self) -> bool:
        return True

    @cached_property
    def _arms(self) -> tuple[Arm, Arm]:
        return Arm(self.buckets), Arm(self.buckets)

    @cached_property
    def _pending(self) -> dict[str, tuple[bool, Features]]:
        return {}

    def choose(self, prompt: Prompt, owner: Participant) -> Choice:
        """The choice for ``prompt``. Its score is by how much more reward is hoped for from the strong stage."""
        features = {**hashed_words(prompt.text, self.buckets - 1, _HASH_SEED), self.buckets - 1: 1.0}
        weak, strong = (arm.estimate(features) for arm in self._arms)
        draw = owner.random("bandit", prompt.id)
        chance, score = self._hope(weak, strong, draw)
        chance = (1 - self.explore) * chance + self.explore / 2
        goes = draw.random() < 0.5 if draw.random() < self.explore else score >= 0
        self._pending[prompt.id] = goes, features
        return Choice(goes, score, 0.0, chance if goes else 1 - chance)

    def learn(self, prompt: str, reward: float) -> None:
        """Take in the reward of the stage that was chosen."""
        if (chosen := self._pending.pop(prompt, None)) is not None:
            strong, features = chosen
            self._arms[strong].learn(features, reward - self.penalty * strong)

    def forget(self, prompt: str) -> None:
        """Learn nothing from this prompt."""
        self._pending.pop(prompt, None)

    @abstractmethod
    def _hope(self, weak: Estimate, strong: Estimate, draw: random.Random) -> tuple[float, float]:
        """The probability that the strong stage is preferred, and by how much it is, which may be drawn."""


class ByLinUcb(ByBandit):
    """LinUCB (Li et al., arXiv 1003.0146): the rewards that may still be hoped for decide."""

    score: Literal["linucb"]
    uncertainty: float = Field(1.0, ge=0, le=10, description="the weight of what is not known of a reward yet")

    def _hope(self, weak: Estimate, strong: Estimate, draw: random.Random) -> tuple[float, float]:
        del draw
        gain = strong.mean - weak.mean + self.uncertainty * (strong.deviation - weak.deviation)
        return float(gain >= 0), gain


class ByThompson(ByBandit):
    """Thompson sampling (Agrawal and Goyal, arXiv 1209.3352): rewards that are drawn decide."""

    score: Literal["thompson"]
    uncertainty: float = Field(0.3, ge=0, le=10, description="the weight of what is not known of a reward yet")

    def _hope(self, weak: Estimate, strong: Estimate, draw: random.Random) -> tuple[float, float]:
        gain = strong.mean - weak.mean
        spread = self.uncertainty * math.hypot(weak.deviation, strong.deviation)
        drawn = draw.gauss(gain, spread)
        return (NormalDist().cdf(gain / spread) if spread else float(gain >= 0)), drawn


Rule = Annotated[ByLength | ByChance | ByRouter | ByLinUcb | ByThompson, Field(discriminator="score")]
