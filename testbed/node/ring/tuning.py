"""The choice of `schedule: auto`, from the measured times of stages and links. No I/O.

With c(B) the seconds of a stage for a batch of B rows, and d(B) the seconds on all links, G groups of B samples give

    tokens/s = min( B / max c(B),  G·B / (Σ c(B) + d(B)) )

The slowest stage limits the first term, the number of samples in flight the second. Of all groups and sizes for which
there are samples, the choice has the highest rate; among those within 1 % of it, the shortest round.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_NEARLY: Final = 0.99


@dataclass(frozen=True)
class Choice:
    """``groups`` of ``batch`` samples, the expected ``rate`` in tokens per second, and the seconds of a ``round``."""

    groups: int
    batch: int
    rate: float
    round: float


def sizes(samples: int) -> list[int]:
    """The batch sizes to try, ascending: powers of two, and all samples at once."""
    return sorted({*(2**power for power in range(samples.bit_length())), samples})


def choose(samples: int, stages: Sequence[Sequence[float]], rounds: Sequence[float]) -> Choice:
    """The best groups for at most ``samples`` samples.

    ``stages`` holds each stage's seconds for a batch of each of the :func:`sizes`. ``rounds`` holds the seconds of a
    round with one batch in flight, for the sizes that all stages can compute: all, or the smaller ones.
    """
    choices = list(_choices(samples, stages, rounds))
    best = max(choice.rate for choice in choices)
    near = (choice for choice in choices if choice.rate >= _NEARLY * best)
    return min(near, key=lambda choice: (choice.round, choice.groups))


def _choices(samples: int, stages: Sequence[Sequence[float]], rounds: Sequence[float]) -> Iterator[Choice]:
    for number, (batch, alone) in enumerate(zip(sizes(samples), rounds, strict=False)):
        seconds = [stage[number] for stage in stages]
        for groups in range(1, samples // batch + 1):
            rate = min(batch / max(seconds), groups * batch / max(alone, sum(seconds)))
            yield Choice(groups, batch, rate, max(alone, groups * max(seconds)))
