"""Whether a queue grows: the rate at which its length changes, and how sure that is.

The lengths of a queue one moment and the next depend on each other, so a line of least squares through them is far too
sure of itself. Batch means are not (Law, Simulation Modeling and Analysis, 5th edition, 2015, section 9.5.3): the time
is cut into equal parts, the queue's change in each, divided by the part's length, is one observation, and Student's t
makes the interval of their mean. Ten to thirty parts are enough for any length of time (Schmeiser, Operations Research
30, 1982).

Where more work comes than can be done, a queue is a random walk with a drift (Iglehart and Whitt, Advances in Applied
Probability 2, 1970). The changes of its parts are then independent, and no estimate of the drift is better than their
mean, the whole change by the whole time. Where less comes, what a queue gains in one part it loses in another: they
vary by more than their mean does, so that a stable queue is called growing less often than the level says.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import fmean, stdev
from typing import Final

from testbed.analysis.distributions import t_probability, t_quantile
from testbed.analysis.measurements import Steps

LEVEL: Final = 0.01
"""The probability, at most, that a queue is called growing that is not."""

PARTS: Final = 20
_CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Trend:
    """Jobs per second by which a queue grows, their 95 % interval, and how likely chance makes one that does not grow
    look as if it did."""

    slope: float
    interval: tuple[float, float]
    p: float

    @property
    def grows(self) -> bool:
        """Whether chance is no explanation."""
        return self.p < LEVEL


def trend(steps: Steps, seconds: float) -> Trend | None:
    """The trend of a queue over the first ``seconds`` of play; None where nothing moved."""
    part = seconds / PARTS
    lengths = [0, *accumulate(change for _, change in steps)]
    times = [time for time, _ in steps]
    edges = [lengths[bisect_right(times, number * part)] for number in range(PARTS + 1)]
    changes = [(after - before) / part for before, after in pairwise(edges)]
    slope, error = fmean(changes), stdev(changes) / math.sqrt(PARTS)
    if not any(changes):
        return None
    margin = t_quantile((1 + _CONFIDENCE) / 2, PARTS - 1) * error
    below = t_probability(abs(slope) / error if error else math.inf, PARTS - 1)
    return Trend(slope, (slope - margin, slope + margin), 1 - below if slope >= 0 else below)
