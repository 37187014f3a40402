"""A node's model gets slower."""

import random
from typing import Any

from pydantic import Field

from testbed.faults.base import ConditionFault
from testbed.schema.network.topology import Topology


class Slow(ConditionFault):
    """A node's model takes longer for every token, as a larger one would: it has more to compute, within the same share
    of CPU."""

    factor: float = Field(gt=1, le=1000, description="how many times as long it takes")

    def condition(self) -> dict[str, Any]:
        """The factor."""
        return {"slowness": self.factor}

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any]:
        """Up to ten times as long."""
        return {**super().draw(topology, chance), "factor": round(chance.uniform(1.5, 10), 1)}
