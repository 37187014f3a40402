"""Percentiles, intervals of proportions, and Student's t distribution, which the standard library has not."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of the values do not exceed (nearest rank); None of no values."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


def wilson_interval(successes: float, trials: int, confidence: float = 0.95) -> tuple[float, float] | None:
    """The score interval of a proportion (Wilson, JASA 22, 1927); None of no trials.

    Of values between 0 and 1 that add up to ``successes`` the interval is too wide rather than too narrow: no such
    values vary more than zeros and ones of the same mean.
    """
    if trials == 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    margin = z * math.sqrt(share * (1 - share) / trials + weight / trials / 4) / (1 + weight)
    return max(0.0, centre - margin), min(1.0, centre + margin)


def t_probability(t: float, freedom: int) -> float:
    """The probability that a variable with ``freedom`` whole degrees stays below ``t``, which is not negative.

    By the finite sums of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    series = 0.0
    for power in range(2 + odd, freedom + 1, 2):  # the terms up to the power freedom - 2 of the cosine
        series += term
        term *= (power - 1) / power * cosine * cosine
    between = 2 / math.pi * (angle + sine * series) if odd else sine * series
    return 0.5 + between / 2


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """The value below which such a variable stays with ``probability``, from a half to below one."""
    low, high = 0.0, 1.0
    while t_probability(high, freedom) < probability:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, freedom) < probability else (low, middle)
    return high
