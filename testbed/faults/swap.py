"""Another model than the topology says."""

import random
from collections.abc import Iterator

from pydantic import Field

from testbed.faults.base import CharacterFault
from testbed.node.character.traits import Swapping
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake


class Swap(CharacterFault):
    """A node's answers are written by another model than the topology says."""

    model: str = Field(description="the other model, like zoo/beta")

    @property
    def models(self) -> dict[str, str]:
        """The other model, at its node."""
        return {self.node: self.model}

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """An unknown node, one that cannot hold a second model, or a model that is no other."""
        yield from super().mistakes(topology)
        node = topology.model_nodes.get(self.node)
        if self.node not in topology.nodes:
            return
        if node is None or self.node not in topology.emulated:
            yield ("node",), f"{self.node!r} is no container with a model of its own; name another node"
        elif node.slots > 1:
            yield ("node",), f"{self.node!r} has {node.slots} slots, and only a node with one can swap its model"
        elif node.model == self.model:
            yield ("model",), f"{self.node!r} has this model already; name another one"

    def trait(self, topology: Topology) -> Swapping:
        """The other model is in the node from its start."""
        del topology
        return Swapping(model=self.model)

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> None:
        """None: a node may lack the memory for a second model."""
        del topology, chance
