"""Loss of every frame on a link."""

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
    """A link loses every frame that is sent from now on. Frames in flight arrive, and the interfaces stay up."""

    way: Literal["up", "down", "both"] = Field(
        "both", description="direction that is cut; up is from the first end to the second"
    )

    def phases(self, topology: Topology) -> Iterator[Phase]:
        del topology
        directions: Sequence[DirectionName] = DIRECTIONS if self.way == "both" else [self.way]
        yield Phase([change_link(self.link, {direction: {"cut": True} for direction in directions})])

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """Both directions with probability 1/2, either one alone with 1/4."""
        drawn = super().draw(topology, chance)
        return drawn and {**drawn, "way": chance.choice(["both", "both", *DIRECTIONS])}
