"""Repeated loss of every frame on a link."""

import random
from collections.abc import Iterator
from typing import Any

from pydantic import Field, model_validator

from testbed.core.units import Duration
from testbed.faults.base import LinkFault
from testbed.faults.targets import change_link
from testbed.schema.fault import Phase
from testbed.schema.network.link import DIRECTIONS
from testbed.schema.network.topology import Topology


class Flap(LinkFault):
    """A link is cut in both directions repeatedly: each period of `every` begins with a cut that lasts `cut`."""

    cut: Duration = Field(gt=0, description="duration of each cut")
    every: Duration = Field(description="from the beginning of one cut to that of the next; longer than `cut`")

    @model_validator(mode="after")
    def _fits(self) -> "Flap":
        if self.every <= self.cut:
            raise ValueError("`every` must be longer than `cut`, so that the link is whole between cuts")
        return self

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """Cut and whole in turn, until the fault ends."""
        del topology
        cut = change_link(self.link, {direction: {"cut": True} for direction in DIRECTIONS})
        while True:
            yield Phase([cut], self.cut)
            yield Phase([], self.every - self.cut)

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """Cuts of 100 ms to 1 s, each 1.5 to 3 times as long after the one before."""
        cut = chance.randint(100, 1000)
        drawn = super().draw(topology, chance)
        return drawn and {**drawn, "cut": f"{cut}ms", "every": f"{round(cut * chance.uniform(1.5, 3))}ms"}
