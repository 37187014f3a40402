"""Topologies from the graphs of other projects: the Internet Topology Zoo, TopoHub, Shadow and others.

S. Knight, H. X. Nguyen, N. Falkner, R. Bowden and M. Roughan, The Internet Topology Zoo, IEEE JSAC 29(9), 2011.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import networkx

from testbed.topologies import attributes
from testbed.topologies.draft import Draft, DraftDirection, DraftLink
from testbed.topologies.graph_files import read_graph

_LONGEST_NAME: Final = 32

_Edge = Mapping[str, Any]


def read_import(path: Path) -> Draft | None:
    """The nodes and links of the largest connected component of a graph in a file; None if the file holds no graph.

    A link's delay is what its edge says, else the time of light in a fibre of its length, or along the great circle
    between its ends. The directions of a directed graph stay apart. Parallel links that differ in nothing but
    bandwidth become one link with the sum. Raises SpecError.
    """
    graph = read_graph(path)
    return None if graph is None else _Import(path, graph).draft()


class _Import:
    """What is imported of a graph."""

    def __init__(self, path: Path, graph: Any) -> None:
        self._path = path
        self._graph = graph
        kept = max(networkx.connected_components(graph.to_undirected(as_view=True)), key=len)
        nodes = [(node, data) for node, data in graph.nodes(data=True) if node in kept]
        self._names = _names(
            {node: node if (label := attributes.label(data)) is None else label for node, data in nodes}
        )
        self._edges = [(a, b, data) for a, b, data in graph.edges(data=True) if a in kept]
        self._cables = [self._between(*ends, *edges) for ends, edges in self._pairs.items()]

    def draft(self) -> Draft:
        links = [link for cables in self._cables for link in _merged(cables)]
        comment = " ".join(filter(None, [f"Imported from {self._path.name}.", *self._account(links)]))
        return Draft(self._path.stem, comment, list(self._names.values()), links)

    def _account(self, links: Sequence[DraftLink]) -> Iterator[str]:
        """Sentences on what was left out, changed, read and missed."""
        unplaced = sum(link.up.delay == 0 for link in links)
        unlimited = sum(link.up.bandwidth is None or link.down.bandwidth is None for link in links)
        merged = sum(map(len, self._cables)) - len(links)
        loops = sum(a == b for a, b, _ in self._edges)
        yield _counted("Left out: {} not connected with these.", len(self._graph) - len(self._names), "node")
        yield _counted("Left out: {} from a node to itself.", loops, "link")
        yield _counted("{} merged with parallel ones: bandwidths are sums.", merged, "link")
        if self._graph.is_directed():
            alone = sum(abs(len(there) - len(back)) for there, back in self._pairs.values())
            yield _counted("{} in one direction alone: the other is given the same numbers.", alone, "edge")
        nodes = (data for _, data in self._graph.nodes(data=True))
        yield from attributes.accounted(nodes, (edge for *_, edge in self._edges))
        yield _counted("The delay of {} is 0: the file has no delay, length or places.", unplaced, "link")
        yield _counted("The bandwidth of {} is not known: as fast as the host.", unlimited, "link")

    @cached_property
    def _pairs(self) -> Mapping[tuple[Any, Any], tuple[list[_Edge], list[_Edge]]]:
        """The edges from and to the first of each two linked nodes."""
        order = {node: number for number, node in enumerate(self._names)}
        pairs: defaultdict[tuple[Any, Any], tuple[list[_Edge], list[_Edge]]] = defaultdict(lambda: ([], []))
        for a, b, edge in self._edges:
            backwards = self._graph.is_directed() and order[a] > order[b]
            if a != b:
                pairs[(a, b) if order[a] < order[b] else (b, a)][backwards].append(edge)
        return pairs

    def _between(self, a: Any, b: Any, there: Sequence[_Edge], back: Sequence[_Edge]) -> list[DraftLink]:
        """The links between two nodes, one for each edge, or for each pair of opposite edges of a directed graph."""
        names = self._names[a], self._names[b]
        paired = [(up or down or {}, down or up or {}) for up, down in zip_longest(there, back)]
        return [DraftLink(*names, self._direction(a, b, up), self._direction(b, a, down)) for up, down in paired]

    def _direction(self, source: Any, target: Any, edge: _Edge) -> DraftDirection:
        sender, receiver = self._graph.nodes[source], self._graph.nodes[target]
        lengths = (attributes.LENGTHS.value(edge), attributes.flight_time(sender, receiver))
        speeds = (
            attributes.SPEEDS.value(edge),
            attributes.BANDWIDTHS.value(edge),
            attributes.UP.value(sender),
            attributes.DOWN.value(receiver),
        )
        return DraftDirection(
            bandwidth=min((speed for speed in speeds if speed), default=None),
            delay=next((delay for delay in (attributes.DELAYS.value(edge), *lengths) if delay is not None), 0.0),
            jitter=attributes.JITTERS.value(edge) or 0.0,
            loss=attributes.LOSSES.value(edge) or 0.0,
        )


def _merged(cables: Sequence[DraftLink]) -> Iterator[DraftLink]:
    """Links that differ in nothing but bandwidth as one with the sum, which is unknown if one of them is."""
    alike: defaultdict[tuple[DraftDirection, DraftDirection], list[DraftLink]] = defaultdict(list)
    for cable in cables:
        alike[replace(cable.up, bandwidth=None), replace(cable.down, bandwidth=None)].append(cable)
    for group in alike.values():
        yield replace(group[0], up=_sum([link.up for link in group]), down=_sum([link.down for link in group]))


def _sum(directions: Sequence[DraftDirection]) -> DraftDirection:
    known = [direction.bandwidth for direction in directions if direction.bandwidth is not None]
    return replace(directions[0], bandwidth=sum(known) if len(known) == len(directions) else None)


def _counted(sentence: str, number: int, noun: str) -> str:
    """``sentence`` with the number of things in it; empty for none."""
    return sentence.format(f"{number} {noun}{'' if number == 1 else 's'}") if number else ""


def _names(labels: Mapping[Any, object]) -> dict[Any, str]:
    """A unique name for every node, valid in a topology file."""
    names: dict[Any, str] = {}
    taken: set[str] = set()
    repeated: Counter[str] = Counter()
    for node, label in labels.items():
        plain = _plain(str(label)) or "node"
        name = plain
        while name in taken:
            repeated[plain] += 1
            name = _numbered(plain, repeated[plain] + 1)
        names[node] = name
        taken.add(name)
    return names


def _plain(label: str) -> str:
    """``label`` in lower-case letters, digits and inner hyphens, without accents."""
    letters = unicodedata.normalize("NFKD", label.lower().replace("ø", "o").replace("ß", "ss").replace("ł", "l"))
    ascii_only = letters.encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]+", "-", ascii_only).strip("-")[:_LONGEST_NAME].rstrip("-")


def _numbered(name: str, number: int) -> str:
    suffix = f"-{number}"
    return name[: _LONGEST_NAME - len(suffix)].rstrip("-") + suffix
