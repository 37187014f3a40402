"""Requests without end."""

import random
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from testbed.core.units import Rate
from testbed.faults.base import CharacterFault
from testbed.node.character.traits import Flooding
from testbed.schema.fault import node_mistakes
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake


class Flood(CharacterFault):
    """A node sends requests for completions to other nodes, besides those of its prompts, and does not wait for their
    responses. At most 64 of them wait at once."""

    rate: Rate = Field(le=1000, description="requests to each of the other nodes in a time, like 20/s")
    to: list[str] | None = Field(None, min_length=1, description="the nodes that get them; without it, all others")

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """Unknown nodes, and a node that floods itself."""
        yield from super().mistakes(topology)
        if len(topology.nodes) < 2:
            yield (), "needs a second node, which gets the requests"
        for number, node in enumerate(self.to or ()):
            yield from node_mistakes(("to", number), node, topology)
            if node == self.node:
                yield ("to", number), f"{node!r} cannot flood itself; name another node"

    def trait(self, topology: Topology) -> Flooding:
        return Flooding(rate=self.rate, to=tuple(self.to or [node for node in topology.nodes if node != self.node]))

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """1/s to 20/s to all others."""
        drawn = super().draw(topology, chance)
        return drawn and {**drawn, "rate": f"{chance.randint(1, 20)}/s"}
