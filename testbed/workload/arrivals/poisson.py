"""Poisson arrivals."""

import random
from collections.abc import Iterator
from typing import ClassVar

from testbed.workload.arrivals.base import OpenLoop


class Poisson(OpenLoop):
    """A Poisson process: the gaps between arrivals are independent and exponentially distributed."""

    memoryless: ClassVar[bool] = True

    def times(self, rate: float, generator: random.Random) -> Iterator[float]:
        """Times of arrivals in seconds; the mean gap is 1/rate."""
        now = 0.0
        while True:
            now += generator.expovariate(rate)
            yield now
