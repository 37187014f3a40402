"""A node's memory is squeezed."""

import random
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from testbed.core.units import SIZE, Size
from testbed.faults.base import ConditionFault
from testbed.schema.explain import Mistake
from testbed.schema.network.topology import Topology


class Memory(ConditionFault):
    """A node's memory is capped lower. A node that needs more than the cap ends, out of memory."""

    memory: Size = Field(description="cap on all that its processes use; below the node's own")

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """A cap that is none."""
        yield from super().mistakes(topology)
        node = topology.nodes.get(self.node)
        if node and self.memory >= node.memory:
            cap = SIZE.format(node.memory)
            yield ("memory",), f"must be below the {cap} of node {self.node!r}, or nothing is squeezed"

    def condition(self) -> dict[str, Any]:
        """The cap."""
        return {"memory": self.memory}

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any]:
        """From a tenth of what the node has."""
        drawn = super().draw(topology, chance)
        cap = topology.nodes[drawn["node"]].memory * chance.uniform(0.1, 0.9)
        return {**drawn, "memory": f"{round(cap)}B"}
