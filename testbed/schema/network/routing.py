"""The way of a packet: static shortest paths between the nodes of a topology.

A path is the shorter, the less time a full frame takes over it and another one back: the delays of its links and
``frame ÷ rate`` of each, in both directions. Of paths of one length that with the fewest links counts, and then that
with the links that come first in the file. So there is one path between two nodes and it is the same from both ends,
every part of a path is a path itself: the nodes on it agree on where a packet goes, each looking at its target only.
"""

from collections.abc import Iterable, Iterator

import networkx

from testbed.schema.network.link import Link
from testbed.schema.network.link_trace import FRAME


class Paths:
    """The shortest paths over some links."""

    def __init__(self, links: Iterable[Link]) -> None:
        """Between two ends there is at most one link."""
        self._graph = networkx.Graph()
        self._toward: dict[str, dict[str, str]] = {}
        links = list(links)
        for index, link in enumerate(links):
            # One whole number compares like the triple of time, count and set of links: no sum of a lower place reaches
            # into the higher one. (Python's whole numbers have no end.)
            cost = (round_trip_nanoseconds(link) * (len(links) + 1) + 1) << len(links) | 1 << index
            self._graph.add_edge(link.a, link.b, link=link, cost=cost)

    def reachable(self, source: str) -> set[str]:
        """Every end that ``source`` has a path to, itself among them."""
        return set(networkx.node_connected_component(self._graph, source)) if source in self._graph else {source}

    def path(self, source: str, target: str) -> list[Link]:
        """The links from ``source`` to ``target``, in their order; empty if there is no way."""
        return [link for link, _ in self.steps(source, target)]

    def steps(self, source: str, target: str) -> Iterator[tuple[Link, str]]:
        """Each link on the way from ``source`` to ``target``, with the end that it leads to."""
        following = self._tree(target)
        here = source
        while here in following:
            there = following[here]
            yield self._graph.edges[here, there]["link"], there
            here = there

    def _tree(self, target: str) -> dict[str, str]:
        """What comes next on the way to ``target``, by where one is."""
        if target not in self._graph:  # it has no links
            return {}
        if target not in self._toward:
            before, _ = networkx.dijkstra_predecessor_and_distance(self._graph, target, weight="cost")
            self._toward[target] = {end: nearer[0] for end, nearer in before.items() if nearer}
        return self._toward[target]


def round_trip_nanoseconds(link: Link) -> int:
    """What a full frame takes over an idle link, and another one back."""
    return round(sum(direction.delay + FRAME * 8 / direction.rate for direction in (link.up, link.down)) * 1e9)
