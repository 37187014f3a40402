"""The network falls apart."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

from pydantic import Field

from testbed.faults.targets import deafen
from testbed.schema.explain import Mistake
from testbed.schema.fault import Fault, Phase, node_mistakes
from testbed.schema.network.topology import Topology


class Partition(Fault):
    """Nodes of different groups do not reach each other: every node is deaf to those of the other groups. A node in no
    group reaches all. Links and their properties stay as they are, and nodes that forward go on forwarding."""

    short = "groups"
    groups: list[Annotated[list[str], Field(min_length=1)]] = Field(
        min_length=2, description="names of nodes, a list for each side"
    )

    @property
    def subject(self) -> str:
        """``a, b | c, d``"""
        return " | ".join(", ".join(group) for group in self.groups)

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """Nodes that are not there, or on two sides."""
        for number, group in enumerate(self.groups):
            for index, node in enumerate(group):
                yield from node_mistakes(("groups", number, index), node, topology)
        for node, times in Counter(chain.from_iterable(self.groups)).items():
            if times > 1:
                yield ("groups",), f"{node!r} stands there {times} times; a node can be on one side only"

    def demands(self) -> Iterator[tuple[str, str]]:
        """That every node of a group can be deaf."""
        yield from ((node, "deaf_to") for node in chain.from_iterable(self.groups))

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """One."""
        del topology
        everyone = frozenset(chain.from_iterable(self.groups))
        yield Phase([deafen(node, everyone - set(group)) for group in self.groups for node in group])

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """All nodes, on two sides."""
        if len(topology.nodes) < 2:
            return None
        nodes = chance.sample(list(topology.nodes), len(topology.nodes))
        border = chance.randrange(1, len(nodes))
        return {"groups": [sorted(nodes[:border]), sorted(nodes[border:])]}
