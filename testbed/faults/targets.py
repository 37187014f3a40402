"""The parts of a world that faults change: its links and its nodes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from testbed.faults.api import Condition, World
from testbed.schema.fault import Effect
from testbed.schema.network.link import DIRECTIONS, Direction, DirectionName, Jitter, Link


@dataclass(frozen=True)
class LinkTarget:
    """A link; its state is a Link."""

    name: str

    def original(self, world: World) -> Link:
        """As the topology says."""
        return world.original_link(self.name)

    def apply(self, world: World, before: Link, after: Link) -> None:
        """Change what differs and leave alone what others may have changed (``testbed link``)."""
        differences = {name: _difference(before.direction(name), after.direction(name)) for name in DIRECTIONS}
        world.change_link(self.name, differences)


@dataclass(frozen=True)
class NodeTarget:
    """A node; its state is a Condition."""

    name: str

    def original(self, world: World) -> Condition:
        """As its device is."""
        return world.original_condition(self.name)

    def apply(self, world: World, before: Condition, after: Condition) -> None:
        """Change what differs."""
        world.change_condition(self.name, before, after)


def change_link(name: str, said: Mapping[DirectionName, Mapping[str, Any]]) -> Effect[Link]:
    """The effect that the link has the properties that are ``said`` of each direction, in the terms of Direction."""

    def change(link: Link) -> Link:
        up, down = (_changed(link.direction(direction), said.get(direction, {})) for direction in DIRECTIONS)
        return replace(link, up=up, down=down)

    return Effect(LinkTarget(name), change)


def change_node(name: str, **said: Any) -> Effect[Condition]:
    """The effect that the node has the fields of Condition that are ``said``."""
    return Effect(NodeTarget(name), lambda condition: replace(condition, **said))


def deafen(name: str, others: frozenset[str]) -> Effect[Condition]:
    """The effect that no packet of ``others`` reaches the node, whatever else does not."""
    return Effect(NodeTarget(name), lambda condition: replace(condition, deaf_to=condition.deaf_to | others))


def _changed(direction: Direction, said: Mapping[str, Any]) -> Direction:
    """One fault may take the delay that another's jitter needs: as much jitter is left as there is delay."""
    delay: float = said.get("delay", direction.delay)
    jitter: Jitter = said.get("jitter", direction.jitter)
    fitting = replace(jitter, deviation=min(jitter.deviation, delay))
    return direction.changed({**said, "jitter": fitting})


def _difference(before: Direction, after: Direction) -> dict[str, Any]:
    values = ((field.name, getattr(before, field.name), getattr(after, field.name)) for field in fields(Direction))
    return {name: new for name, old, new in values if old != new}
