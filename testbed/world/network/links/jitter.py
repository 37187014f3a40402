"""The distributions of jitter as tables of quantiles, which both backends use."""

from collections.abc import Callable
from functools import cache
from statistics import NormalDist, fmean, pstdev
from typing import Final

QUANTILES: Final = 1024
"""Entries of a table. wire.h has the same number."""

_MOST_DEVIATIONS: Final = 3.99
"""Where tails are cut off. netem's tables hold 16-bit integers in which 8,192 is one standard deviation."""

_PARETO_SHAPE: Final = 3.0
"""The smallest integer for which a Pareto distribution has a variance. iproute2's table has the same."""

_INVERSE: Final[dict[str, Callable[[float], float]]] = {
    "normal": NormalDist().inv_cdf,
    "uniform": lambda share: share,
    "pareto": lambda share: (1 - share) ** (-1 / _PARETO_SHAPE),
}


@cache
def quantiles(distribution: str) -> tuple[float, ...]:
    """Equally likely values in ascending order, with mean 0 and standard deviation 1."""
    values = [_INVERSE[distribution]((step + 0.5) / QUANTILES) for step in range(QUANTILES)]
    for _ in range(100):  # cutting tails shifts mean and deviation, and correcting these shifts the tails
        mean, deviation = fmean(values), pstdev(values)
        values = [min((value - mean) / deviation, _MOST_DEVIATIONS) for value in values]
    return tuple(values)
