"""What every link backend can do."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from testbed.core import seeds
from testbed.core.errors import TestbedError
from testbed.core.registry import Registry
from testbed.host.namespace import Namespace
from testbed.schema.network.link import DIRECTIONS, Direction, DirectionName, Link
from testbed.world.journal import Journal


class LinkError(TestbedError):
    """Links that are gone, or cannot be made or changed."""

    exit_code = 3


@dataclass(frozen=True)
class End:
    """Where one end of a link goes: the interface's name and its namespace."""

    interface: str
    namespace: Namespace


@dataclass(frozen=True)
class Wiring:
    """A link of a run as it stands: its number in the run, what it is asked to be, its ends, and what chance has.

    ``changes`` counts how often its properties have changed.
    """

    number: int
    link: Link
    a: End
    b: End
    seed: int
    changes: int = 0

    def dilated(self, factor: float) -> "Wiring":
        """The same where everything takes ``factor`` times as long."""
        return replace(self, link=self.link.dilated(factor))

    def stream(self, direction: DirectionName) -> int:
        """64 random bits for one direction: others after each change, lest what is seeded anew repeats its draws."""
        return seeds.stream(self.seed, "link", self.link.name, direction, self.changes).getrandbits(64)


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
    """The links of one run. Several processes may have them in hand at a time."""

    def connect(self, wiring: Wiring) -> None:
        """Create the two interfaces of a link, each in its namespace, with what the link does between them."""

    def shape(self, wiring: Wiring, directions: Collection[DirectionName]) -> None:
        """Give these directions of a connected link the properties in its wiring while it carries frames.

        No frame is dropped by the change. The other direction keeps its properties and its random sequence.
        """

    def moved(self, wiring: Wiring, end: End) -> None:
        """The interface at one end of a link has come into another namespace of the same path: mend what that broke."""

    def health(self, wirings: Sequence[Wiring]) -> Health:
        """How well they have worked since they were asked last."""


@dataclass(frozen=True)
class LinkBackend:
    """A way to make links.

    ``missing`` tells what this host lacks for it, None if nothing, ``cannot`` what it cannot make a direction do, and
    ``cannot_change`` why it cannot make one direction another while the link carries frames. ``begin`` begins the links
    of a run, which keep what they need to be found again in a directory; what it makes besides interfaces, which go
    with their namespaces, it records in the journal. ``attach`` takes links in hand that another process has begun.
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
    """Backends are tried in ascending order where none is named."""

    def refusals(self, before: Link, after: Link) -> Iterator[tuple[DirectionName, str]]:
        """Why it cannot make the link ``after``, or change ``before`` into it while it carries frames; by direction."""
        for name in DIRECTIONS:
            old, new = before.direction(name), after.direction(name)
            if reason := self.cannot(new) or self.cannot_change(old, new):
                yield name, reason


LINK_BACKENDS: Final[Registry[LinkBackend]] = Registry("testbed.links", "link backend", LinkBackend)


def backends() -> list[LinkBackend]:
    """The backends of installed packages, in the order in which they are tried; raises KindError."""
    found = map(LINK_BACKENDS.get, LINK_BACKENDS.names())
    return sorted(found, key=lambda backend: backend.precedence)
