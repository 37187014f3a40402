"""A node has another share of CPU."""

import random
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from testbed.faults.base import ConditionFault
from testbed.schema.explain import Mistake
from testbed.schema.network.topology import Topology


class Cpu(ConditionFault):
    """A node gets less CPU, as when it is too hot or somebody else works on it: its inference becomes slower."""

    cpus: float = Field(
        ge=0.01, allow_inf_nan=False, description="cores of the host, like 0.3; no more than the node's"
    )

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """More than the node has, of which the check of the host would not know."""
        yield from super().mistakes(topology)
        node = topology.nodes.get(self.node)
        if node and node.cpus is not None and self.cpus > node.cpus:
            yield ("cpus",), f"{self.cpus:g} is more than the {node.cpus:g} of node {self.node!r}; give it less"

    def condition(self) -> dict[str, Any]:
        """The cap."""
        return {"cpus": self.cpus}

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any]:
        """From a fifth of what the node has; what a device comes to is known only where it runs, so little is taken."""
        drawn = super().draw(topology, chance)
        share = (topology.nodes[drawn["node"]].cpus or 0.05) * chance.uniform(0.2, 0.9)
        return {**drawn, "cpus": max(0.01, round(share, 3))}
