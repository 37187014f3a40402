"""Arrivals whose gaps are gamma distributed."""

import random
from collections.abc import Iterator

from pydantic import Field

from testbed.workload.arrivals.base import OpenLoop


class Gamma(OpenLoop):
    """Independent gaps of a gamma distribution.

    Their coefficient of variation is 1/√shape: 1 is a Poisson process, less is burstier, more is more regular. The
    shape is what vLLM's benchmark client calls burstiness.
    """

    shape: float = Field(gt=0, allow_inf_nan=False, description="1/CV² of the gaps; 1 is Poisson, less is burstier")

    def times(self, rate: float, generator: random.Random) -> Iterator[float]:
        """Times of arrivals in seconds; the mean gap is 1/rate."""
        now, scale = 0.0, 1 / (rate * self.shape)
        while True:
            now += generator.gammavariate(self.shape, scale)
            yield now
