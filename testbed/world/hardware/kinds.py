"""The node kinds of real hardware. They import what starts nodes when it is called: `validate` reads them, too."""

from collections.abc import Mapping
from typing import Any, ClassVar

from testbed.schema.network.node import NodeKind
from testbed.world.hardware.entries import Cabled, Controlled


class Interface(NodeKind, Cabled):
    """A device behind a network interface of this host. It runs what its owner put there, and no agent."""

    suffers: ClassVar[frozenset[str]] = frozenset({"powered", "deaf_to"})

    @classmethod
    def start(cls, site: Any, nodes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take every node's interface from the host."""
        from testbed.world.hardware.device import start_devices

        return start_devices(site, nodes)


class Board(NodeKind, Controlled):
    """A board with an agent behind a network interface of this host, reached over ssh on the cable."""

    dilates: ClassVar[bool] = False
    suffers: ClassVar[frozenset[str]] = frozenset({"running", "hanging", "slowness", "deaf_to", "character"})

    @classmethod
    def start(cls, site: Any, nodes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take every board's interface from the host, and start its agent."""
        from testbed.world.hardware.boards import start_boards

        return start_boards(site, nodes)
