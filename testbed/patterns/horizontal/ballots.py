"""Counting answers: which of them say the same, what each weighs, which leads, and how likely it stays ahead."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean
from typing import Final, Literal

from testbed.patterns.participant import Completion, JobError, Participant
from testbed.patterns.signals import Signal, confidence

Weighing = Literal["count", "confidence"]

_INTERVALS = 400  # of Simpson's rule; even


@dataclass(frozen=True)
class Ballot:
    """An answer: its normal form is the ``choice``, its ``weight`` is from 0 to 1, and the node ``by`` gave it."""

    choice: str
    text: str
    weight: float = 1.0
    by: str = ""


@dataclass(frozen=True)
class Tally:
    """The answers to one prompt, in the order in which they count."""

    ballots: Sequence[Ballot]

    @property
    def weights(self) -> dict[str, float]:
        """The sum of the weights of each choice's ballots."""
        sums: dict[str, float] = {}
        for ballot in self.ballots:
            sums[ballot.choice] = sums.get(ballot.choice, 0.0) + ballot.weight
        return sums

    @property
    def leader(self) -> Ballot:
        """The weightiest ballot for the choice with the largest sum; of equal ones the earliest."""
        weights = self.weights
        choice = max(weights, key=lambda choice: weights[choice])
        return max((ballot for ballot in self.ballots if ballot.choice == choice), key=lambda ballot: ballot.weight)

    @property
    def share(self) -> float:
        """The leader's part of all weight, from 0 to 1."""
        weights = self.weights
        return weights[self.leader.choice] / (sum(weights.values()) or 1.0)

    @property
    def unanimous(self) -> bool:
        """Whether all ballots are for one choice."""
        return len(self.weights) == 1

    @property
    def lead(self) -> float:
        """The chance that the leader is ahead of the second in the long run: see :func:`stays_ahead`."""
        first, second = sorted([*self.weights.values(), 0.0, 0.0], reverse=True)[:2]
        return stays_ahead(first, second)

    def __str__(self) -> str:
        weights = self.weights
        return ", ".join(f"{choice} {weight:.3g}" for choice, weight in weights.items())


def counted(completions: Iterable[Completion], owner: Participant, weigh: Weighing, signal: Signal) -> Tally:
    """The ballots of answers, each of which weighs 1 or its confidence, and nothing without a normal form.

    Raises JobError if an answer lacks the signal.
    """
    ballots = []
    for completion in completions:
        choice = owner.normalised(completion.text)
        weight = 1.0 if weigh == "count" else confidence(completion, signal)
        ballots.append(Ballot(choice, completion.text, weight if choice else 0.0, completion.by))
    return Tally(ballots)


Winning = Literal["plurality", "median", "trimmed-mean"]

TRIMMED: Final = 0.25
"""The share of answers that a trimmed mean leaves out at each end."""


def central(ballots: Sequence[Ballot], winning: Literal["median", "trimmed-mean"]) -> str:
    """The weighted median of answers whose normal forms are numbers, as it was said, or their weighted trimmed mean.

    Other answers count for nothing. Raises JobError if none is a number, or none has a weight.
    """
    numbers = sorted(
        ((value, ballot) for ballot in ballots if ballot.weight and (value := _number(ballot.choice)) is not None),
        key=lambda number: number[0],
    )
    if not numbers:
        raise JobError("no answer is a number; a median and a mean need the scorer `number`")
    if winning == "median":
        half, sums = sum(ballot.weight for _, ballot in numbers) / 2, accumulate(one.weight for _, one in numbers)
        return next(ballot.text for (_, ballot), below in zip(numbers, sums, strict=True) if below >= half)
    out = int(len(numbers) * TRIMMED)
    kept = numbers[out : len(numbers) - out]
    return f"{fmean([value for value, _ in kept], [ballot.weight for _, ballot in kept]):.12g}"


def _number(choice: str) -> float | None:
    try:
        value = float(choice)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def stays_ahead(first: float, second: float) -> float:
    """The probability that of two answers with these votes the first is the likelier: P(p > ½), p ~ Beta(v₁+1, v₂+1).

    The Beta criterion of Adaptive-Consistency (Aggarwal et al., arXiv 2305.11860), here for weights as for counts,
    computed by Simpson's rule.
    """
    if first == second:
        return 0.5
    a, b = first + 1, second + 1
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)

    def density(p: float) -> float:
        if p == 1.0:
            return math.exp(logarithm) if b == 1 else 0.0
        return math.exp(logarithm + (a - 1) * math.log(p) + (b - 1) * math.log1p(-p))

    step = 0.5 / _INTERVALS
    values = [density(0.5 + number * step) for number in range(_INTERVALS + 1)]
    return step / 3 * (values[0] + values[-1] + 4 * sum(values[1:-1:2]) + 2 * sum(values[2:-1:2]))
