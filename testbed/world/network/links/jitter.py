"""The distributions of a link's delay, as tables: both backends draw from the same ones."""

from collections.abc import Callable
from functools import cache
from statistics import NormalDist, fmean, pstdev
from typing import Final

QUANTILES: Final = 1024
"""Entries of a table; wire.h has the same number."""

_MOST_DEVIATIONS: Final = 3.99
"""Tails are cut here: netem's tables hold 16-bit numbers, of which 8,192 are one standard deviation."""

_PARETO_SHAPE: Final = 3.0
"""The smallest whole number for which a Pareto distribution has a variance; iproute2's table has the same."""

_INVERSE: Final[dict[str, Callable[[float], float]]] = {
    "normal": NormalDist().inv_cdf,
    "uniform": lambda share: share,
    "pareto": lambda share: (1 - share) ** (-1 / _PARETO_SHAPE),
}


@cache
def quantiles(distribution: str) -> tuple[float, ...]:
    """Values of which each is as likely as any other, in rising order, with mean 0 and standard deviation 1."""
    values = [_INVERSE[distribution]((step + 0.5) / QUANTILES) for step in range(QUANTILES)]
    for _ in range(100):  # to cut the tails moves mean and deviation, and to mend those moves the tails
        mean, deviation = fmean(values), pstdev(values)
        values = [min((value - mean) / deviation, _MOST_DEVIATIONS) for value in values]
    return tuple(values)
