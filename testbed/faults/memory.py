"""Less memory for a node."""

import random
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from testbed.core.units import SIZE, Size
from testbed.faults.base import ConditionFault
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake


class Memory(ConditionFault):
    """A node's memory cap is lowered. A node that needs more than the new cap ends, out of memory."""

    memory: Size = Field(description="cap on the memory of all its processes; below the node's own")

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """A cap that is not below the node's own."""
        yield from super().mistakes(topology)
        node = topology.emulated.get(self.node)
        if node and self.memory >= node.memory:
            cap = SIZE.format(node.memory)
            yield ("memory",), f"must be below the {cap} of node {self.node!r}; name a smaller cap"

    def condition(self) -> dict[str, Any]:
        """The new cap, in bytes."""
        return {"memory": self.memory}

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """10 % to 90 % of the node's memory."""
        if not topology.emulated:
            return None
        node = chance.choice(list(topology.emulated))
        cap = topology.emulated[node].memory * chance.uniform(0.1, 0.9)
        return {"node": node, "memory": f"{round(cap)}B"}
