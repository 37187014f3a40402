"""Where an axis that begins at zero is marked: at round values, 1, 2 or 5 times a power of ten apart."""

import math


def ticks(end: float, most: int = 8) -> list[float]:
    """Round values from 0 to at most ``end``; one for 0, and no more than ``most`` others."""
    if end <= 0:
        return [0.0]
    step = _step(end / most)
    return [step * number for number in range(math.floor(end / step * (1 + 1e-9)) + 1)]


def covering_ticks(end: float, most: int) -> list[float]:
    """Round values from 0 to at least ``end``, no more than ``most`` besides 0; 0 and 1 if ``end`` is 0."""
    if end <= 0:
        return [0.0, 1.0]
    step = _step(end / most)
    return [step * number for number in range(math.ceil(end / step - 1e-9) + 1)]


def _step(least: float) -> float:
    """The smallest round value that is at least ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
