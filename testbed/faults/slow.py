"""A slower model."""

import random
from typing import Any

from pydantic import Field

from testbed.faults.base import ConditionFault
from testbed.schema.network.topology import Topology


class Slow(ConditionFault):
    """A node's model takes longer for every token, as a larger model would: it computes more within the same share of
    CPU."""

    factor: float = Field(gt=1, le=1000, description="factor by which the time for a token grows")

    def condition(self) -> dict[str, Any]:
        """The factor on the time for a token."""
        return {"slowness": self.factor}

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """A factor of 1.5 to 10."""
        drawn = super().draw(topology, chance)
        return drawn and {**drawn, "factor": round(chance.uniform(1.5, 10), 1)}
