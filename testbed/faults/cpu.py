"""Less CPU for a node."""

import random
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from testbed.faults.base import ConditionFault
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake


class Cpu(ConditionFault):
    """A node gets less CPU, as if it throttled from heat or ran another program. Its inference becomes slower."""

    cpus: float = Field(ge=0.01, allow_inf_nan=False, description="cores of the host, like 0.3; at most the node's own")

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """More CPU than the node has: the check of the host's capacity reads only the topology."""
        yield from super().mistakes(topology)
        node = topology.emulated.get(self.node)
        if node and node.cpus is not None and self.cpus > node.cpus:
            yield ("cpus",), f"{self.cpus:g} is more than the {node.cpus:g} of node {self.node!r}; name at most that"

    def condition(self) -> dict[str, Any]:
        """The new cap, in cores."""
        return {"cpus": self.cpus}

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """20 % to 90 % of the node's cores, or of 0.05 where the host decides how many cores the device gets."""
        if not topology.emulated:
            return None
        node = chance.choice(list(topology.emulated))
        share = (topology.emulated[node].cpus or 0.05) * chance.uniform(0.2, 0.9)
        return {"node": node, "cpus": max(0.01, round(share, 3))}
