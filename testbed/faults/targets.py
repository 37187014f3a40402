"""Targets of faults, links and nodes, and the effects that faults have on them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from testbed.faults.api import Condition, World
from testbed.node.character.traits import AnyTrait
from testbed.schema.fault import Effect
from testbed.schema.network.direction import Direction, Jitter
from testbed.schema.network.link import DIRECTIONS, DirectionName, Link


@dataclass(frozen=True)
class LinkTarget:
    """A link, by name. Its state is a :class:`Link`."""

    name: str

    def original(self, world: World) -> Link:
        """The link as the topology describes it."""
        return world.original_link(self.name)

    def apply(self, world: World, before: Link, after: Link) -> None:
        """Change only properties that differ, so that changes by ``testbed link`` stay."""
        differences = {name: _difference(before.direction(name), after.direction(name)) for name in DIRECTIONS}
        world.change_link(self.name, differences)


@dataclass(frozen=True)
class NodeTarget:
    """A node, by name. Its state is a :class:`Condition`."""

    name: str

    def original(self, world: World) -> Condition:
        """The node's condition while no fault is active."""
        return world.original_condition(self.name)

    def apply(self, world: World, before: Condition, after: Condition) -> None:
        """Change what differs between the two conditions."""
        world.change_condition(self.name, before, after)


def change_link(name: str, said: Mapping[DirectionName, Mapping[str, Any]]) -> Effect[Link]:
    """The effect that sets properties of a link. ``said`` has fields of :class:`Direction` and values, by direction."""

    def change(link: Link) -> Link:
        up, down = (_changed(link.direction(direction), said.get(direction, {})) for direction in DIRECTIONS)
        return replace(link, up=up, down=down)

    return Effect(LinkTarget(name), change)


def change_node(name: str, **said: Any) -> Effect[Condition]:
    """The effect that sets fields of a node's :class:`Condition`."""
    return Effect(NodeTarget(name), lambda condition: replace(condition, **said))


def deafen(name: str, others: frozenset[str]) -> Effect[Condition]:
    """The effect that the node drops packets of ``others``, in addition to those that it drops already."""
    return Effect(NodeTarget(name), lambda condition: replace(condition, deaf_to=condition.deaf_to | others))


def misbehave(name: str, trait: AnyTrait) -> Effect[Condition]:
    """The effect that the node has ``trait``, besides those that it has already."""
    return Effect(NodeTarget(name), lambda condition: replace(condition, character=(*condition.character, trait)))


def _changed(direction: Direction, said: Mapping[str, Any]) -> Direction:
    """``direction`` with the properties in ``said``; its jitter is at most the delay, which another fault may set."""
    delay: float = said.get("delay", direction.delay)
    jitter: Jitter = said.get("jitter", direction.jitter)
    fitting = replace(jitter, deviation=min(jitter.deviation, delay))
    return direction.changed({**said, "jitter": fitting})


def _difference(before: Direction, after: Direction) -> dict[str, Any]:
    values = ((field.name, getattr(before, field.name), getattr(after, field.name)) for field in fields(Direction))
    return {name: new for name, old, new in values if old != new}
