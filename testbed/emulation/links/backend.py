"""What every link backend can do."""

from dataclasses import dataclass
from typing import Protocol

from testbed.emulation.journal import Journal
from testbed.emulation.namespace import Namespace
from testbed.spec.topology import Link


@dataclass(frozen=True)
class End:
    """Where one end of a link goes: the interface's name and its namespace."""

    interface: str
    namespace: Namespace


class LinkBackend(Protocol):
    """Makes the links of one run."""

    name: str

    def start(self, journal: Journal) -> None:
        """Begin a run. What is made here is recorded in ``journal``, which ends it; interfaces go with namespaces."""

    def connect(self, link: Link, a: End, b: End) -> None:
        """Create the two interfaces of ``link``, each in its namespace, with what the link does between them."""
