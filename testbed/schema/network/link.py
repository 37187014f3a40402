"""A link: its two ends, and the properties of both directions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from testbed.schema.link_names import link_name
from testbed.schema.network.direction import Direction

DirectionName = Literal["up", "down"]
DIRECTIONS: Final[tuple[DirectionName, DirectionName]] = ("up", "down")
"""Up is from a link's first endpoint to its second, down is back."""


@dataclass(frozen=True)
class Link:
    """A link with all its properties; ``up`` is from ``a`` to ``b``.

    ``number`` counts the links that are written with the same two ends in the same order, from 1.
    """

    a: str
    b: str
    up: Direction
    down: Direction
    number: int = 1

    @property
    def name(self) -> str:
        """The link's name, from its ends: ``a-s1``, and ``a-s1#2`` of a second one."""
        return link_name(self.a, self.b, self.number)

    def direction(self, direction: DirectionName) -> Direction:
        """The direction of that name."""
        return self.up if direction == "up" else self.down

    def changed(self, said: Mapping[DirectionName, Mapping[str, Any]]) -> "Link":
        """This link with the properties in ``said``, by direction; raises ValueError if they do not fit."""
        up, down = (self.direction(direction).changed(said.get(direction, {})) for direction in DIRECTIONS)
        return replace(self, up=up, down=down)

    def dilated(self, factor: float) -> "Link":
        """A copy in which everything takes ``factor`` times as long."""
        return replace(self, up=self.up.dilated(factor), down=self.down.dilated(factor))
