"""Whether a queue grows: the rate at which its length changes, and the interval of that rate.

Successive lengths of a queue are correlated, so the interval of a least-squares line through them is far too narrow.
Batch means avoid that (Law, Simulation Modeling and Analysis, 5th edition, 2015, section 9.5.3): time is cut into equal
parts, the change of the queue in each part, divided by the part's length, is one observation, and Student's t gives the
interval of the mean. Ten to thirty parts are enough for any length of time (Schmeiser, Operations Research 30, 1982).

Above saturation, a queue is a random walk with drift (Iglehart and Whitt, Advances in Applied Probability 2, 1970). The
changes of its parts are then independent, and the best estimate of the drift is their mean, the whole change divided by
the whole time. Below saturation, a queue loses in one part what it gained in another, so the changes vary more than
their mean does, and a stable queue is called growing less often than the level says.
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
"""The largest probability that a queue is called growing that is not."""

PARTS: Final = 20
_CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Trend:
    """The growth of a queue in jobs per second, its 95 % interval, and the p-value of no growth."""

    slope: float
    interval: tuple[float, float]
    p: float

    @property
    def grows(self) -> bool:
        """Whether the growth is significant at :data:`LEVEL`."""
        return self.p < LEVEL


def trend(steps: Steps, seconds: float) -> Trend | None:
    """The trend of a queue over the first ``seconds`` of play; None if its length never changed."""
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
