"""Arrivals that come and go."""

import random
from collections.abc import Iterator

from pydantic import Field

from testbed.core.units import Duration
from testbed.workload.arrivals.base import OpenLoop


class OnOff(OpenLoop):
    """An interrupted Poisson process: prompts arrive as a Poisson process while it is on, and none while it is off.

    The periods are exponentially distributed (Kuczura, Bell System Technical Journal 52, 1973). ``rate`` is the mean
    over both, so the rate while it is on is rate·(on + off)/on. It is on when play begins.
    """

    on: Duration = Field(gt=0, description="mean length of a period with arrivals")
    off: Duration = Field(gt=0, description="mean length of a period without")

    def times(self, rate: float, generator: random.Random) -> Iterator[float]:
        """Times of arrivals in seconds."""
        now, while_on = 0.0, rate * (self.on + self.off) / self.on
        left = generator.expovariate(1 / self.on)
        while True:
            gap = generator.expovariate(while_on)
            while gap > left:  # the rest of an exponential gap is distributed like a whole one
                now += left + generator.expovariate(1 / self.off)
                left, gap = generator.expovariate(1 / self.on), generator.expovariate(while_on)
            now, left = now + gap, left - gap
            yield now
