"""What `schedule: auto` picks, from what stages and links take. No I/O.

With c(B) a stage's seconds for a batch of B rows, and d(B) those on the links all round, G groups of B samples give

    tokens/s = min( B / max c(B),  G·B / (Σ c(B) + d(B)) )

The first is what the slowest stage can do, the second what is in flight. Of the groups and sizes that there are samples
for, those with the highest rate are taken; of those within a hundredth of it, those whose tokens come home first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_NEARLY: Final = 0.99


@dataclass(frozen=True)
class Choice:
    """So many groups of so many samples, the tokens a second that they should give, and the seconds of a round."""

    groups: int
    batch: int
    rate: float
    round: float


def sizes(samples: int) -> list[int]:
    """The batches that are tried: powers of two, and all samples at once."""
    return sorted({*(2**power for power in range(samples.bit_length())), samples})


def choose(samples: int, stages: Sequence[Sequence[float]], rounds: Sequence[float]) -> Choice:
    """The best groups for up to ``samples`` samples.

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
