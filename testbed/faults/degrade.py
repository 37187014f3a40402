"""A link gets worse, or better."""

import random
from collections.abc import Iterator
from typing import Any

from testbed.faults.base import LinkFault
from testbed.faults.targets import change_link
from testbed.schema.explain import Mistake
from testbed.schema.fault import Phase
from testbed.schema.network.link import DIRECTIONS, DirectionName, Link
from testbed.schema.network.shape import TwoWayShape
from testbed.schema.network.topology import Topology


class Degrade(LinkFault, TwoWayShape):
    """A link has other properties; the keys are those of a link in a topology file, and what is not said stays. A trace
    is looked for from the topology's directory."""

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """Properties that are none, or that do not fit those of the link."""
        yield from super().mistakes(topology)
        if not any(self.said_of(direction) for direction in DIRECTIONS):
            yield (), "says no property to change; name one, like delay: 200ms"
        for link in topology.resolved_links:
            if link.name == self.link:
                yield from (((), message) for message in dict.fromkeys(self._misfits(link)))

    def _misfits(self, link: Link) -> Iterator[str]:
        for direction in DIRECTIONS:
            try:
                link.direction(direction).changed(self.said_of(direction))
            except ValueError as error:
                yield str(error)

    def changed(self, link: Link) -> Link:
        """What it says, of its own link."""
        return link.changed(self._said) if link.name == self.link else link

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """One."""
        del topology
        yield Phase([change_link(self.link, self._said)])

    @property
    def _said(self) -> dict[DirectionName, dict[str, Any]]:
        """Of both directions."""
        return {direction: self.said_of(direction) for direction in DIRECTIONS}

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """One property, in both directions, of those that every backend can have."""
        drawn = super().draw(topology, chance)
        key, value = chance.choice(
            [
                ("bandwidth", f"{chance.randint(50, 1000)}kbit"),
                ("delay", f"{chance.randint(20, 500)}ms"),
                *((share, f"{chance.randint(1, 20)}%") for share in ("loss", "duplicate", "reorder", "corrupt")),
            ]
        )
        return drawn and {**drawn, key: value}
