"""Arrivals at equal gaps."""

import random
from collections.abc import Iterator
from itertools import count

from testbed.workload.arrivals.base import OpenLoop


class Constant(OpenLoop):
    """Equal gaps between a node's arrivals. The first comes within one gap, so that nodes are not in step."""

    def times(self, rate: float, generator: random.Random) -> Iterator[float]:
        """Times of arrivals in seconds; each gap is 1/rate."""
        first = generator.random()
        return ((first + number) / rate for number in count())
