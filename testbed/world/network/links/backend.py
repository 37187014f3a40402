"""The interface of link backends."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from testbed.core import seeds
from testbed.core.errors import TestbedError
from testbed.core.registry import Registry
from testbed.host.namespace import Namespace
from testbed.schema.network.direction import Direction
from testbed.schema.network.link import DIRECTIONS, DirectionName, Link
from testbed.world.journal import Journal


class LinkError(TestbedError):
    """A link is gone, or cannot be made or changed."""

    exit_code = 3


@dataclass(frozen=True)
class End:
    """One end of a link: an interface's name and its namespace."""

    interface: str
    namespace: Namespace


@dataclass(frozen=True)
class Wiring:
    """A link of a run at one moment: its number in the run, its properties, its ends and the run's seed.

    ``changes`` counts the changes of its properties so far.
    """

    number: int
    link: Link
    a: End
    b: End
    seed: int
    changes: int = 0

    def dilated(self, factor: float) -> "Wiring":
        """The same wiring with every time ``factor`` times as long, and every rate as much lower."""
        return replace(self, link=self.link.dilated(factor))

    def stream(self, direction: DirectionName) -> int:
        """64 random bits for one direction. They differ after each change, so that a new seed repeats no draws."""
        return seeds.stream(self.seed, "link", self.link.name, direction, self.changes).getrandbits(64)


@dataclass(frozen=True)
class Health:
    """The condition of a run's links.

    ``failure`` is the reason why the links carry nothing, or None. ``lateness`` is the largest delay of a frame beyond
    what was asked, in seconds, or None where the backend does not measure it. ``lost`` counts, by link, the frames that
    were lost although no property of the link asked for it.
    """

    failure: str | None = None
    lateness: float | None = None
    lost: Mapping[str, int] = field(default_factory=dict)


class Links(Protocol):
    """The links of one run. Several processes may hold them at a time."""

    def connect(self, wiring: Wiring) -> None:
        """Create a link: its two interfaces, each in its namespace, and the link's behaviour between them."""

    def shape(self, wiring: Wiring, directions: Collection[DirectionName]) -> None:
        """Give these directions of a connected link the properties in its wiring while it carries frames.

        No frame is dropped by the change. The other direction keeps its properties and its random sequence.
        """

    def moved(self, wiring: Wiring, end: End) -> None:
        """Restore a link after the interface at one end was moved into another namespace of the same path."""

    def health(self, wirings: Sequence[Wiring]) -> Health:
        """The condition of the links since the last call."""


@dataclass(frozen=True)
class LinkBackend:
    """An implementation of links.

    ``missing`` returns what this host lacks for the backend, or None. ``cannot`` returns why the backend cannot make a
    direction, or None. ``cannot_change`` returns why it cannot change one direction into another while the link carries
    frames, or None. ``begin`` starts the links of a run. It keeps in a directory what ``attach`` needs, and records in
    the journal whatever it makes besides interfaces, which the kernel deletes with their namespaces. ``attach`` takes
    over links that another process has begun.
    """

    name: str
    missing: Callable[[], str | None]
    cannot: Callable[[Direction], str | None]
    cannot_change: Callable[[Direction, Direction], str | None]
    begin: Callable[[Journal, Path], Links]
    attach: Callable[[Path], Links]
    summary: str = ""
    """What a link is, for `testbed kinds`."""

    precedence: int = 100
    """Where no backend is named, backends are tried in ascending order of this number."""

    def refusals(self, before: Link, after: Link) -> Iterator[tuple[DirectionName, str]]:
        """Each direction that the backend cannot change from ``before`` to ``after``, with the reason."""
        for name in DIRECTIONS:
            old, new = before.direction(name), after.direction(name)
            if reason := self.cannot(new) or self.cannot_change(old, new):
                yield name, reason


LINK_BACKENDS: Final[Registry[LinkBackend]] = Registry("testbed.links", "link backend", LinkBackend)


def backends() -> list[LinkBackend]:
    """The backends of the installed packages, in the order in which they are tried. Raises KindError."""
    found = map(LINK_BACKENDS.get, LINK_BACKENDS.names())
    return sorted(found, key=lambda backend: backend.precedence)
