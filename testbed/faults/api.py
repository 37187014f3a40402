"""What a fault may do to a world: change the properties of its links and the condition of its nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from testbed.schema.network.link import DirectionName, Link


@dataclass(frozen=True)
class Condition:
    """The state of a node: its caps in cores and bytes, and what has become of it.

    ``paused`` stops all of its processes and the network with them, ``hanging`` those of the agent alone. ``slowness``
    is the factor by which its model takes longer. ``deaf_to`` are the nodes whose packets do not reach it.
    """

    cpus: float
    memory: int
    running: bool = True
    paused: bool = False
    hanging: bool = False
    slowness: float = 1.0
    deaf_to: frozenset[str] = frozenset()


class World(Protocol):
    """The world that faults happen to."""

    def original_link(self, name: str) -> Link:
        """A link as the topology describes it."""

    def change_link(self, name: str, said: Mapping[DirectionName, Mapping[str, Any]]) -> Any:
        """Give a link the properties that are said of each direction, and leave its others alone."""

    def original_condition(self, name: str) -> Condition:
        """The condition of a node that no fault has."""

    def change_condition(self, name: str, before: Condition, after: Condition) -> None:
        """Bring a node from one condition into another; called in a thread of its own."""
