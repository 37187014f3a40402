"""A link gets worse, or better."""

from collections.abc import Iterator

from testbed.faults.fault import LinkFault, Phase
from testbed.faults.targets import change_link
from testbed.spec.explain import Mistake
from testbed.spec.link import WAYS
from testbed.spec.shape import TwoWayShape
from testbed.spec.topology import Topology


class Degrade(LinkFault, TwoWayShape):
    """A link has other properties, those of a topology file; what is not said stays. A recording's file is looked for
    from the topology's directory."""

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """Properties that are none, or that do not fit those of the link."""
        yield from super().mistakes(topology)
        if not any(self.said_of(way) for way in WAYS):
            yield (), "says no property to change; name one, like delay: 200ms"
        for link in topology.resolved_links:
            if link.name == self.link:
                yield from self._misfits(topology)

    def _misfits(self, topology: Topology) -> Iterator[Mistake]:
        (link,) = (link for link in topology.resolved_links if link.name == self.link)
        for way in WAYS:
            try:
                link.way(way).changed(self.said_of(way))
            except ValueError as error:
                yield (), str(error)

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """One."""
        del topology
        yield Phase([change_link(self.link, {way: self.said_of(way) for way in WAYS})])
