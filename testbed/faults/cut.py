"""A link goes down."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import Field

from testbed.faults.base import LinkFault
from testbed.faults.targets import change_link
from testbed.schema.fault import Phase
from testbed.schema.network.link import DIRECTIONS, DirectionName
from testbed.schema.network.topology import Topology


class Cut(LinkFault):
    """A link loses every frame; what is on its way arrives. Its interfaces stay up, as if a cable broke further on."""

    way: Literal["up", "down", "both"] = Field("both", description="the direction; up is from its first end")

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """One."""
        del topology
        directions: Sequence[DirectionName] = DIRECTIONS if self.way == "both" else [self.way]
        yield Phase([change_link(self.link, {direction: {"cut": True} for direction in directions})])

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """Half of the time in both directions."""
        drawn = super().draw(topology, chance)
        return drawn and {**drawn, "way": chance.choice(["both", "both", *DIRECTIONS])}
