"""Bases of the faults that have one node or one link as their target."""

import random
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from testbed.core.units import Share
from testbed.faults.targets import change_node, misbehave
from testbed.node.character.traits import AnyTrait
from testbed.schema.fault import Fault, Phase, node_mistakes
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake


class NodeFault(Fault):
    """A fault whose target is one node."""

    short = "node"
    node: str = Field(description="its name in the topology file")

    @property
    def subject(self) -> str:
        """The node's name."""
        return self.node

    @property
    def needs(self) -> str | None:
        """The node must be running, unless a kind says otherwise."""
        return self.node

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """An unknown node."""
        yield from node_mistakes(("node",), self.node, topology)

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """Every node is equally likely."""
        return {"node": chance.choice(list(topology.nodes))}


class LinkFault(Fault):
    """A fault whose target is one link."""

    short = "link"
    link: str = Field(description="its two ends in the order of the topology file, like a-s1")

    @property
    def subject(self) -> str:
        """The link's name."""
        return self.link

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """An unknown link."""
        known = [link.name for link in topology.resolved_links]
        if self.link not in known:
            yield ("link",), f"there is no link {self.link!r}; known are {', '.join(known)}"

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """Every link is equally likely; None in a topology without links."""
        links = topology.resolved_links
        return {"link": chance.choice(links).name} if links else None


class ConditionFault(NodeFault):
    """A fault of one node with a single phase, during which the node's condition differs."""

    @abstractmethod
    def condition(self) -> dict[str, Any]:
        """Values of the fields of :class:`~testbed.faults.api.Condition` that the fault sets."""

    def demands(self) -> Iterator[tuple[str, str]]:
        """The fields of its condition, of its node."""
        yield from ((self.node, field) for field in self.condition())

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """One phase that lasts until the fault ends."""
        del topology
        yield Phase([change_node(self.node, **self.condition())])


class CharacterFault(NodeFault):
    """A fault of one node with a single phase, during which the node's agent misbehaves."""

    @abstractmethod
    def trait(self, topology: Topology) -> AnyTrait:
        """What the agent is told to do."""

    def demands(self) -> Iterator[tuple[str, str]]:
        """The character of its node."""
        yield self.node, "character"

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """One phase that lasts until the fault ends."""
        yield Phase([misbehave(self.node, self.trait(topology))])


class AnswerFault(CharacterFault):
    """A fault of character that changes a share of a node's answers, to other nodes and to its own pattern."""

    share: Share = Field(1.0, gt=0, description="share of its answers that are changed")

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """A share of 20 % to 100 %."""
        drawn = super().draw(topology, chance)
        return drawn and {**drawn, "share": f"{chance.randint(20, 100)}%"}
