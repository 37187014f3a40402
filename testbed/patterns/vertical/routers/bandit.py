"""Linear contextual bandits: which of two stages answers, learned from the feedback on its answers alone.

Each stage has a ridge regression of its reward on the prompt's features. LinUCB (Li et al., arXiv 1003.0146) adds its
uncertainty to the expected reward; Thompson sampling (Agrawal and Goyal, arXiv 1209.3352) draws the reward from its
distribution.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Features = Mapping[int, float]
"""The values of a prompt's features by index; those left out are 0."""


@dataclass(frozen=True)
class Estimate:
    """The expected reward of a stage, and the standard deviation of this expectation in units of the noise."""

    mean: float
    deviation: float


@dataclass
class Arm:
    """The rewards of one stage. ``width`` is the number of features."""

    width: int
    _inverse: list[list[float]] = field(init=False)  # of the features' second moments, plus the identity
    _sums: list[float] = field(init=False)  # of the features times the reward

    def __post_init__(self) -> None:
        self._inverse = [[float(row == column) for column in range(self.width)] for row in range(self.width)]
        self._sums = [0.0] * self.width

    def estimate(self, features: Features) -> Estimate:
        """What is known of the reward of a prompt with these features."""
        turned = self._turned(features)
        mean = sum(value * total for value, total in zip(turned, self._sums, strict=True))
        variance = sum(turned[index] * value for index, value in features.items())
        return Estimate(mean, max(0.0, variance) ** 0.5)

    def learn(self, features: Features, reward: float) -> None:
        """Take in the reward of a prompt, by the formula of Sherman and Morrison."""
        turned = self._turned(features)
        scale = 1 + sum(turned[index] * value for index, value in features.items())
        for row, value in enumerate(turned):
            if value:
                share, inverse = value / scale, self._inverse[row]
                self._inverse[row] = [old - share * other for old, other in zip(inverse, turned, strict=True)]
        for index, value in features.items():
            self._sums[index] += reward * value

    def _turned(self, features: Features) -> list[float]:
        """The inverse times the features; the inverse is symmetric, so its rows are its columns."""
        turned = [0.0] * self.width
        for index, value in features.items():
            turned = [total + value * other for total, other in zip(turned, self._inverse[index], strict=True)]
        return turned
