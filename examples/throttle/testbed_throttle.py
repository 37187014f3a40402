"""Thermal throttling."""

from collections.abc import Iterator

from pydantic import Field

from testbed.core.units import Duration
from testbed.faults.base import NodeFault
from testbed.faults.targets import change_node
from testbed.schema.fault import Phase
from testbed.schema.network.topology import Topology


class Throttle(NodeFault):
    """A node overheats again and again: its model is slower until the node has cooled down."""

    factor: float = Field(4.0, gt=1, le=1000, description="how many times longer a token takes while the node is hot")
    hot: Duration = Field(2.0, gt=0, description="how long the node is slow each time")
    cool: Duration = Field(1.0, gt=0, description="how long it has its full speed in between")

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """Slow and fast in turn, until the fault ends."""
        del topology
        slow = change_node(self.node, slowness=self.factor)
        while True:
            yield Phase([slow], self.hot)
            yield Phase([], self.cool)
