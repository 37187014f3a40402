"""Links in virtual time: a message takes its bytes over each link's rate, and the delay, after those before it."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Final, Protocol

from testbed.core.errors import SpecError
from testbed.schema.network.direction import Direction
from testbed.schema.network.link import DIRECTIONS, Link
from testbed.schema.network.routing import round_trip_nanoseconds
from testbed.schema.network.topology import Topology

_UNABLE: Final = ("loss", "duplicate", "reorder", "corrupt", "trace", "cut", "jitter")


class Network(Protocol):
    """What carries the messages of a simulation."""

    def carry(self, source: str, target: str, size: int, now: float) -> float:
        """When a message of ``size`` bytes that is sent ``now`` arrives; times are in seconds."""

    def traffic(self) -> dict[str, dict[str, int]]:
        """The bytes that each link has carried, by direction."""


class Channel:
    """One direction of a link. ``bytes`` counts what it has carried."""

    __slots__ = ("_delay", "_free", "_seconds", "bytes")

    def __init__(self, direction: Direction) -> None:
        self._seconds = 0.0 if math.isinf(direction.rate) else 8 / direction.rate  # for a byte
        self._delay = direction.delay
        self._free = 0.0
        self.bytes = 0

    def idle(self, size: int) -> float:
        """The seconds that a message takes over the idle link."""
        return size * self._seconds + self._delay

    def carry(self, size: int, now: float) -> float:
        """When a message arrives that comes to the link ``now``."""
        self._free = max(now, self._free) + size * self._seconds
        self.bytes += size
        return self._free + self._delay


class LinkNetwork:
    """The links of a topology. ``overhead`` are the bytes that each message has besides its body, on each link."""

    def __init__(self, topology: Topology, overhead: int = 0) -> None:
        """Raises SpecError for links with properties that are not simulated."""
        self._overhead = overhead
        self._channels = {link.name: (Channel(link.up), Channel(link.down)) for link in topology.resolved_links}
        self._around: defaultdict[str, dict[str, tuple[int, Channel]]] = defaultdict(dict)
        for link in topology.resolved_links:
            _refuse(link, topology.tables)
            length, (up, down) = round_trip_nanoseconds(link), self._channels[link.name]
            known, _ = self._around[link.a].get(link.b, (math.inf, None))
            if length < known:  # of several links between two ends, the fastest is used
                self._around[link.a][link.b], self._around[link.b][link.a] = (length, up), (length, down)
        self._paths: dict[tuple[str, str], list[Channel]] = {}

    def carry(self, source: str, target: str, size: int, now: float) -> float:
        """When a message arrives. A message holds each link of its path from the time at which it is sent."""
        for channel in self.path(source, target):
            now = channel.carry(size + self._overhead, now)
        return now

    def idle(self, source: str, target: str, size: int) -> float:
        """The seconds that a message takes over idle links."""
        return sum(channel.idle(size + self._overhead) for channel in self.path(source, target))

    def traffic(self) -> dict[str, dict[str, int]]:
        """The bytes that each link has carried, by direction."""
        return {
            name: {direction: channel.bytes for direction, channel in zip(DIRECTIONS, channels, strict=True)}
            for name, channels in self._channels.items()
        }

    def path(self, source: str, target: str) -> list[Channel]:
        """The channels of the path with the shortest round trip, then the fewest links, as nodes are routed."""
        if (source, target) not in self._paths:
            self._paths[source, target] = list(self._shortest(source, target))
        return self._paths[source, target]

    def _shortest(self, source: str, target: str) -> Iterator[Channel]:
        """By Dijkstra's algorithm from the target, which ends at the source.

        Nothing longer than a direct link is looked at, so that neighbours are found at once in a network of any size.
        """
        most = self._around[source].get(target, (math.inf, None))[0]
        reached: dict[str, str] = {}
        edge: list[tuple[int, int, int, str, str]] = [(0, 0, 0, target, target)]
        order = count(1)
        while source not in reached:
            cost, steps, _, here, onward = heappop(edge)
            if here in reached:
                continue
            reached[here] = onward
            for there, (length, _) in self._around[here].items():
                if there not in reached and cost + length <= most:
                    heappush(edge, (cost + length, steps + 1, next(order), there, here))
        while source != target:
            yield self._around[source][reached[source]][1]
            source = reached[source]


def _refuse(link: Link, tables: Collection[str]) -> None:
    usual = Direction()
    unusual = {
        name
        for name in _UNABLE
        for direction in (link.up, link.down)
        if getattr(direction, name) != getattr(usual, name)
    }
    if link.name in tables:
        unusual.add("trace")
    for name in sorted(unusual):
        raise SpecError.of(
            f"link {link.name}", f"`{name}` is not simulated; leave it out, or run the scenario with `testbed run`"
        )
