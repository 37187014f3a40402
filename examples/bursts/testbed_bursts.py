"""Arrivals in bursts."""

import random
from collections.abc import Iterator
from itertools import repeat

from pydantic import Field

from testbed.workload.arrivals.base import OpenLoop


class Bursts(OpenLoop):
    """A batch Poisson process: prompts arrive ``size`` at a time, and the bursts are a Poisson process."""

    size: int = Field(4, ge=1, description="prompts of a burst, which arrive at one instant")

    def times(self, rate: float, generator: random.Random) -> Iterator[float]:
        """Gaps between bursts of mean size/rate seconds, so that ``rate`` is the mean rate of prompts."""
        now = 0.0
        while True:
            now += generator.expovariate(rate / self.size)
            yield from repeat(now, self.size)
