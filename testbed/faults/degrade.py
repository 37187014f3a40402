"""Other properties for a link."""

import random
from collections.abc import Iterator
from typing import Any

from testbed.faults.base import LinkFault
from testbed.faults.targets import change_link
from testbed.schema.fault import Phase
from testbed.schema.network.link import DIRECTIONS, DirectionName, Link
from testbed.schema.network.shape import TABLE_OF_PLAY, TwoWayShape
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake


class Degrade(LinkFault, TwoWayShape):
    """A link gets other properties, better or worse ones. The keys are those of a link in a topology file; properties
    without a key stay. The path of a trace counts from the topology's directory."""

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """No property at all, or one that does not fit the others of the link."""
        yield from super().mistakes(topology)
        if not any(self.said_of(direction) for direction in DIRECTIONS):
            yield (), "changes no property; name one, like delay: 200ms"
        if any("table" in said for said in self._said.values()):
            yield ("trace",), TABLE_OF_PLAY
            return
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
        """``link`` with the new properties, if it is the fault's own."""
        return link.changed(self._said) if link.name == self.link else link

    def phases(self, topology: Topology) -> Iterator[Phase]:
        del topology
        yield Phase([change_link(self.link, self._said)])

    @property
    def _said(self) -> dict[DirectionName, dict[str, Any]]:
        """The new properties, by direction."""
        return {direction: self.said_of(direction) for direction in DIRECTIONS}

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """One property, in both directions, that every backend supports."""
        drawn = super().draw(topology, chance)
        key, value = chance.choice(
            [
                ("bandwidth", f"{chance.randint(50, 1000)}kbit"),
                ("delay", f"{chance.randint(20, 500)}ms"),
                *((share, f"{chance.randint(1, 20)}%") for share in ("loss", "duplicate", "reorder", "corrupt")),
            ]
        )
        return drawn and {**drawn, key: value}
