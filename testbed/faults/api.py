"""What faults can change in a world: the properties of its links and the condition of its nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from testbed.node.character.traits import AnyTrait
from testbed.schema.network.link import DirectionName, Link


@dataclass(frozen=True)
class Condition:
    """The state of a node.

    ``cpus`` (cores) and ``memory`` (bytes) are its caps; those of a node that is not emulated are 0. ``powered``
    is whether its smart plug is on. ``paused`` freezes all of its processes, ``hanging`` stops the agent alone.
    ``slowness`` is the factor by which its model takes longer for a token. Packets of the nodes in ``deaf_to`` are
    dropped where they arrive. ``character`` is what its agent does that it should not, in the order in which these
    faults began.
    """

    cpus: float = 0.0
    memory: int = 0
    powered: bool = True
    running: bool = True
    paused: bool = False
    hanging: bool = False
    slowness: float = 1.0
    deaf_to: frozenset[str] = frozenset()
    character: tuple[AnyTrait, ...] = ()


class World(Protocol):
    """A world that implements the changes."""

    def original_link(self, name: str) -> Link:
        """The link as the topology describes it."""

    def change_link(self, name: str, said: Mapping[DirectionName, Mapping[str, Any]]) -> Any:
        """Set the properties in ``said``, by direction. Raises TestbedError if the link cannot have them."""

    def original_condition(self, name: str) -> Condition:
        """The condition of the node while no fault is active."""

    def change_condition(self, name: str, before: Condition, after: Condition) -> None:
        """Change the node from ``before`` to ``after``. Blocks, so it is called in a thread."""
