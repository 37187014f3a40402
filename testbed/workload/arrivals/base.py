"""The base of arrival processes: the part of a scenario file that gives the times at which prompts arrive."""

import random
from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Final

from pydantic import Field

from testbed.core.registry import Registry
from testbed.core.spec import Spec
from testbed.core.units import Rate


class ArrivalProcess(Spec):
    """The arrivals at one node. The processes of different nodes are independent."""

    memoryless: ClassVar[bool] = False
    """Whether arrivals are Poisson, as the M/G/1 formulas assume."""

    process: str = Field(description="the process's name, or FILE.py:NAME from the scenario's directory")
    rate: Rate = Field(description="mean number of prompts in a time, at each node")

    @abstractmethod
    def times(self, generator: random.Random) -> Iterator[float]:
        """Arrivals in seconds since the beginning of play: ascending, infinite, drawn from ``generator`` alone."""


ARRIVALS: Final[Registry[type[ArrivalProcess]]] = Registry("testbed.arrivals", "arrival process", ArrivalProcess)
