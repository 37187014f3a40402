"""Static shortest paths between the nodes of a topology.

The length of a path is the round-trip time of a full frame: the delay and ``frame ÷ rate`` of each link, in both
directions. Ties go to the path with fewer links, then to the one whose links come first in the file. So two nodes have
one path, equal from both ends, and every part of a path is a path itself. Nodes can therefore forward a packet by its
target alone.
"""

import math
from collections.abc import Iterable, Iterator

import networkx

from testbed.schema.network.link import Link
from testbed.schema.network.link_trace import FRAME


class Paths:
    """The shortest paths over a set of links."""

    def __init__(self, links: Iterable[Link]) -> None:
        """Of several links between the same two ends, paths use the one with the shortest round trip."""
        self._graph = networkx.Graph()
        self._toward: dict[str, dict[str, str]] = {}
        links = list(links)
        for index, link in enumerate(links):
            # One integer that compares like the triple (time, number of links, set of links). The sum over a path
            # never carries from one part into the next, and Python's integers have no limit.
            cost = (round_trip_nanoseconds(link) * (len(links) + 1) + 1) << len(links) | 1 << index
            if cost < self._graph.get_edge_data(link.a, link.b, {"cost": math.inf})["cost"]:
                self._graph.add_edge(link.a, link.b, link=link, cost=cost)

    def reachable(self, source: str) -> set[str]:
        """Every end that ``source`` has a path to, including itself."""
        return set(networkx.node_connected_component(self._graph, source)) if source in self._graph else {source}

    def path(self, source: str, target: str) -> list[Link]:
        """The links from ``source`` to ``target`` in order; empty if there is no path."""
        return [link for link, _ in self.steps(source, target)]

    def steps(self, source: str, target: str) -> Iterator[tuple[Link, str]]:
        """Each link on the path from ``source`` to ``target``, with the end that it leads to."""
        following = self._tree(target)
        here = source
        while here in following:
            there = following[here]
            yield self._graph.edges[here, there]["link"], there
            here = there

    def _tree(self, target: str) -> dict[str, str]:
        """The next end on the path to ``target``, by end."""
        if target not in self._graph:  # it has no links
            return {}
        if target not in self._toward:
            before, _ = networkx.dijkstra_predecessor_and_distance(self._graph, target, weight="cost")
            self._toward[target] = {end: nearer[0] for end, nearer in before.items() if nearer}
        return self._toward[target]


def round_trip_nanoseconds(link: Link) -> int:
    """The time of a full frame over an idle link and of another one back, in whole nanoseconds."""
    return round(sum(direction.delay + FRAME * 8 / direction.rate for direction in (link.up, link.down)) * 1e9)
