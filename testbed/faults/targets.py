"""The parts of a world that faults change: its links and its nodes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from testbed.faults.effects import Effect
from testbed.schema.network.link import WAYS, Direction, Jitter, Link, Way

if TYPE_CHECKING:
    from testbed.world.world import World


@dataclass(frozen=True)
class LinkTarget:
    """A link; its state is a Link."""

    name: str

    def original(self, world: "World") -> Link:
        """As the topology says."""
        return next(link for link in world.plan.scenario.topology.resolved_links if link.name == self.name)

    def apply(self, world: "World", before: Link, after: Link) -> None:
        """Change what differs and leave alone what others may have changed (``testbed link``)."""
        world.links.change(self.name, {way: _difference(before.way(way), after.way(way)) for way in WAYS})


def change_link(name: str, said: Mapping[Way, Mapping[str, Any]]) -> Effect[Link]:
    """The effect that the link has the properties that are ``said`` of each way, in the terms of Direction."""

    def change(link: Link) -> Link:
        up, down = (_changed(link.way(way), said.get(way, {})) for way in WAYS)
        return replace(link, up=up, down=down)

    return Effect(LinkTarget(name), change)


def _changed(direction: Direction, said: Mapping[str, Any]) -> Direction:
    """One fault may take the delay that another's jitter needs: as much jitter is left as there is delay."""
    delay: float = said.get("delay", direction.delay)
    jitter: Jitter = said.get("jitter", direction.jitter)
    fitting = replace(jitter, deviation=min(jitter.deviation, delay))
    return direction.changed({**said, "jitter": fitting})


def _difference(before: Direction, after: Direction) -> dict[str, Any]:
    values = ((field.name, getattr(before, field.name), getattr(after, field.name)) for field in fields(Direction))
    return {name: new for name, old, new in values if old != new}


@dataclass(frozen=True)
class Condition:
    """The state of a node: its caps in cores and bytes, and what has become of it.

    ``paused`` stops all of its processes and the network with them, ``hanging`` those of the agent alone.
    ``slowness`` is by how many times its model takes longer. ``deaf_to`` are the nodes whose packets do not reach it.
    """

    cpus: float
    memory: int
    running: bool = True
    paused: bool = False
    hanging: bool = False
    slowness: float = 1.0
    deaf_to: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NodeTarget:
    """A node; its state is a Condition."""

    name: str

    def original(self, world: "World") -> Condition:
        """As its device is."""
        device = world.plan.devices[self.name]
        return Condition(device.cpus, device.memory)

    def apply(self, world: "World", before: Condition, after: Condition) -> None:
        """Change what differs. What has ended otherwise, by running out of memory, needs no change."""
        node = world.nodes[self.name]
        if after.slowness != before.slowness:  # of a node that has ended, too: it holds when it is started again
            world.slow_down(self.name, after.slowness)
        if before.running and not after.running:
            node.kill()
        if after.running and not before.running:
            world.restart(self.name)
            before = Condition(cpus=0, memory=0)  # nobody knows with which caps it was started
        if node.ended:
            return
        if after.deaf_to != before.deaf_to:
            world.network.deafen(self.name, before.deaf_to, after.deaf_to)
        if after.cpus != before.cpus:
            world.cap_cpu(self.name, after.cpus)
        if after.memory != before.memory:
            node.cap_memory(after.memory)
        if after.hanging != before.hanging:
            node.hang(after.hanging)
        if after.paused != before.paused:
            node.pause(after.paused)


def change_node(name: str, **said: Any) -> Effect[Condition]:
    """The effect that the node has the fields of Condition that are ``said``."""
    return Effect(NodeTarget(name), lambda condition: replace(condition, **said))


def deafen(name: str, others: frozenset[str]) -> Effect[Condition]:
    """The effect that no packet of ``others`` reaches the node, whatever else does not."""
    return Effect(NodeTarget(name), lambda condition: replace(condition, deaf_to=condition.deaf_to | others))
