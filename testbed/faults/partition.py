"""Groups of nodes that cannot reach each other."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

from pydantic import Field

from testbed.faults.targets import deafen
from testbed.schema.fault import Fault, Phase, node_mistakes
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake


class Partition(Fault):
    """Nodes of different groups cannot reach each other: every node drops the packets of the other groups' nodes. A
    node in no group reaches all. Links keep their properties, and nodes forward packets as before."""

    short = "groups"
    groups: list[Annotated[list[str], Field(min_length=1)]] = Field(
        min_length=2, description="lists of nodes, one for each side"
    )

    @property
    def subject(self) -> str:
        """The groups, like ``a, b | c, d``."""
        return " | ".join(", ".join(group) for group in self.groups)

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """Unknown nodes, and nodes that are in two groups."""
        for number, group in enumerate(self.groups):
            for index, node in enumerate(group):
                yield from node_mistakes(("groups", number, index), node, topology)
        for node, times in Counter(chain.from_iterable(self.groups)).items():
            if times > 1:
                yield ("groups",), f"{node!r} is listed {times} times; name each node at most once"

    def demands(self) -> Iterator[tuple[str, str]]:
        """That every node of a group can be deaf."""
        yield from ((node, "deaf_to") for node in chain.from_iterable(self.groups))

    def phases(self, topology: Topology) -> Iterator[Phase]:
        del topology
        everyone = frozenset(chain.from_iterable(self.groups))
        yield Phase([deafen(node, everyone - set(group)) for group in self.groups for node in group])

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """All nodes in two groups of random size; None with fewer than two nodes."""
        if len(topology.nodes) < 2:
            return None
        nodes = chance.sample(list(topology.nodes), len(topology.nodes))
        border = chance.randrange(1, len(nodes))
        return {"groups": [sorted(nodes[:border]), sorted(nodes[border:])]}
