"""The node kinds of the testbed itself. They import what starts nodes when it is called: `validate` reads them, too."""

from collections.abc import Mapping
from typing import Any, ClassVar

from testbed.schema.network.node import Emulated, ModelNode, NodeKind


class Container(NodeKind, ModelNode, Emulated):
    """A container on this host that runs the testbed's agent, with a model in llama.cpp."""

    suffers: ClassVar[frozenset[str]] = frozenset(
        {"cpus", "memory", "running", "paused", "hanging", "slowness", "deaf_to", "character"}
    )

    @classmethod
    def start(cls, site: Any, nodes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start a container for every node."""
        from testbed.world.nodes.containers import start_containers

        return start_containers(site, nodes)
