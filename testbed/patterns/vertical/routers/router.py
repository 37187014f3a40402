"""A fitted router: the probability that the strong stage is right on a prompt and the weak one wrong.

It is a logistic regression, so a node takes one dot product. Its file is JSON, made by ``testbed router fit``.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, ValidationError

from testbed.core.spec import Spec
from testbed.patterns.participant import Completion
from testbed.patterns.vertical.routers.features import (
    OF_ANSWER,
    Number,
    hashed_words,
    numbers_of_answer,
    numbers_of_prompt,
)

_FINGERPRINT: Final = 12  # hexadecimal digits


class ScaledWeight(Spec):
    """The weight of a number after its ``mean`` has been taken away and it has been divided by ``scale``."""

    mean: float
    scale: float = Field(gt=0)
    weight: float

    def of(self, value: float) -> float:
        """What the number adds to the score's logit."""
        return self.weight * (value - self.mean) / self.scale


class Router(Spec):
    """The weights of a router.

    ``words`` are by bucket. ``scores`` are those of the calibration prompts in ascending order, each by weights that
    were fitted without that prompt. ``fitted_on`` has the fingerprint of each of these prompts.
    """

    format: Literal[1] = 1
    buckets: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**64)
    intercept: float
    words: dict[int, float]
    numbers: dict[Number, ScaledWeight]
    scores: list[float] = Field(min_length=1)
    fitted_on: list[str]

    @classmethod
    def load(cls, path: Path) -> Self:
        """The router in a file; raises ValueError with a sentence that names the file."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
        except (ValidationError, UnicodeDecodeError):
            raise ValueError(f"{path} is no router; `testbed router fit` makes one") from None

    @property
    def reads_answers(self) -> bool:
        """Whether it needs the weak stage's answer."""
        return any(name in self.numbers for name in OF_ANSWER)

    def score(self, text: str, answer: Completion | None = None) -> float:
        """The probability of a gain, from 0 to 1; raises JobError if ``answer`` lacks what the router reads."""
        known: dict[Number, float] = numbers_of_prompt(text)
        if self.reads_answers and answer is not None:
            known |= numbers_of_answer(answer)
        return self.score_of(hashed_words(text, self.buckets, self.seed) if self.words else {}, known)

    def score_of(self, words: Mapping[int, float], numbers: Mapping[Number, float]) -> float:
        """The same from a prompt's features."""
        logit = self.intercept + sum(self.words.get(bucket, 0.0) * value for bucket, value in words.items())
        return sigmoid(logit + sum(weight.of(numbers[name]) for name, weight in self.numbers.items()))

    def threshold(self, share: float) -> float:
        """The least score that goes to the strong stage where ``share`` of the calibration prompts shall do so."""
        beyond = round(share * len(self.scores))
        return math.nextafter(self.scores[-1], math.inf) if beyond == 0 else self.scores[-beyond]

    def share(self, threshold: float) -> float:
        """The share of the calibration prompts whose score is at least ``threshold``."""
        return 1 - bisect_left(self.scores, threshold) / len(self.scores)


def fingerprint(text: str) -> str:
    """What tells one prompt from another in :attr:`Router.fitted_on`."""
    return sha256(text.encode()).hexdigest()[:_FINGERPRINT]


def sigmoid(logit: float) -> float:
    """The logistic function, without overflow."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else 1 - 1 / (1 + math.exp(logit))
