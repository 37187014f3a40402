"""Requests in another's name."""

import random
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from testbed.core.units import Rate
from testbed.faults.base import CharacterFault
from testbed.node.character.traits import Impersonating
from testbed.schema.fault import node_mistakes
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake


class Impersonate(CharacterFault):
    """A node sends requests for completions to other nodes in the name of one of them, besides those of its prompts."""

    victim: str = Field(description="the node in whose name it asks; it gets no requests")
    rate: Rate = Field(1.0, le=1000, description="requests to each of the other nodes in a time, like 2/s")

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """An unknown victim, or the node itself."""
        yield from super().mistakes(topology)
        yield from node_mistakes(("victim",), self.victim, topology)
        if self.victim == self.node:
            yield ("victim",), f"{self.node!r} may ask in its own name; name another node"

    def trait(self, topology: Topology) -> Impersonating:
        others = tuple(node for node in topology.nodes if node not in (self.node, self.victim))
        return Impersonating(rate=self.rate, to=others, victim=self.victim)

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any]:
        """Any node in the name of any other."""
        node, victim = chance.sample(list(topology.nodes), 2) if len(topology.nodes) > 1 else [*topology.nodes] * 2
        return {"node": node, "victim": victim}
