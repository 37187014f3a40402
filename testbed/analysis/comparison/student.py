"""Student's t distribution, of which the standard library has only the normal one's limit."""

import math
from functools import cache


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
