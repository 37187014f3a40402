"""What every link backend can do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from testbed.emulation.journal import Journal
from testbed.emulation.namespace import Namespace
from testbed.spec.link import Link


@dataclass(frozen=True)
class End:
    """Where one end of a link goes: the interface's name and its namespace."""

    interface: str
    namespace: Namespace


@dataclass(frozen=True)
class Health:
    """How well the links of a run work.

    ``failure`` is why they carry nothing any more, None if they do. ``lateness`` is the most by which a frame came
    late, in seconds; None where nobody takes note. ``lost`` are the frames of each link, by its name, that were lost
    though no property of it asked for that.
    """

    failure: str | None = None
    lateness: float | None = None
    lost: Mapping[str, int] = field(default_factory=dict)


class Links(Protocol):
    """The links of one run."""

    def health(self) -> Health:
        """How well they have worked since they were asked last."""

    def connect(self, link: Link, a: End, b: End) -> None:
        """Create the two interfaces of ``link``, each in its namespace, with what the link does between them."""


@dataclass(frozen=True)
class LinkBackend:
    """A way to make links.

    ``missing`` tells what this host lacks for it, None if nothing. ``open`` begins the links of a run; what it makes
    besides interfaces, which go with their namespaces, it records in the journal.
    """

    name: str
    missing: Callable[[], str | None]
    open: Callable[[Journal], Links]
