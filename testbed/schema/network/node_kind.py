"""The base of node kinds: containers, and other things behind an emulated link."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from testbed.core.registry import Registry


class NodeKind(ABC):
    """A kind of node, named by ``kind:`` of a node in a topology file."""

    suffers: ClassVar[frozenset[str]]
    """The fields of :class:`~testbed.faults.api.Condition` that faults can change in its nodes."""

    @classmethod
    @abstractmethod
    def start(cls, site: Any, nodes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start nodes, and return a handle for each name; raises WorldError.

        ``site`` is a :class:`~testbed.world.nodes.handle.Site`, each of ``nodes`` a
        :class:`~testbed.world.nodes.handle.PlannedNode`, and each handle a
        :class:`~testbed.world.nodes.handle.NodeHandle`. The site's journal records everything before it is made.
        """


NODE_KINDS: Final[Registry[type[NodeKind]]] = Registry("testbed.nodes", "node kind", NodeKind)
