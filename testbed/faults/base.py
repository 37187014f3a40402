"""Faults of one node and of one link."""

import random
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from testbed.faults.targets import change_node
from testbed.schema.explain import Mistake
from testbed.schema.fault import Fault, Phase, node_mistakes
from testbed.schema.network.topology import Topology


class NodeFault(Fault):
    """A fault of one node."""

    short = "node"
    node: str = Field(description="its name in the topology file")

    @property
    def subject(self) -> str:
        """The node."""
        return self.node

    @property
    def needs(self) -> str | None:
        """The node."""
        return self.node

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """A node that is not there."""
        yield from node_mistakes(("node",), self.node, topology)

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any]:
        """Any node."""
        return {"node": chance.choice(list(topology.nodes))}


class LinkFault(Fault):
    """A fault of one link."""

    short = "link"
    link: str = Field(description="like a-s1, after its ends in the order of the topology file")

    @property
    def subject(self) -> str:
        """The link."""
        return self.link

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """A link that is not there."""
        known = [link.name for link in topology.resolved_links]
        if self.link not in known:
            yield ("link",), f"there is no link {self.link!r}; known are {', '.join(known)}"

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """Any link."""
        links = topology.resolved_links
        return {"link": chance.choice(links).name} if links else None


class ConditionFault(NodeFault):
    """A fault of one node that lasts as it began."""

    @abstractmethod
    def condition(self) -> dict[str, Any]:
        """The fields of :class:`~testbed.faults.api.Condition` that it sets."""

    def demands(self) -> Iterator[tuple[str, str]]:
        """The fields of its condition, of its node."""
        yield from ((self.node, field) for field in self.condition())

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """One phase, until the fault is over."""
        del topology
        yield Phase([change_node(self.node, **self.condition())])
