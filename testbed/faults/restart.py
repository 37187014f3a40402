"""The restart of a node."""

from collections.abc import Iterator

from testbed.faults.base import NodeFault
from testbed.faults.targets import change_node
from testbed.schema.fault import Phase
from testbed.schema.network.topology import Topology


class Restart(NodeFault):
    """A node ends at once (SIGKILL), unless it has ended already, and is started again with its full share of CPU, its
    address and its routes. It answers when its model is loaded."""

    momentary = True
    outlives_play = True

    @property
    def needs(self) -> str | None:
        """None: a node that has ended can be restarted as well."""
        return None

    @property
    def starts(self) -> str | None:
        """The node runs afterwards."""
        return self.node

    def demands(self) -> Iterator[tuple[str, str]]:
        """That its node can be ended and started."""
        yield self.node, "running"

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """Down, then up, even if another fault had killed the node."""
        del topology
        yield Phase([change_node(self.node, running=False)], 0.0)
        yield Phase([change_node(self.node, running=True)], 0.0)
