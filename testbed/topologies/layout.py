"""The layout of a topology's nodes and switches, by stress majorization.

Points are moved until their distances in the plane match those in the graph, counted in links, as well as possible.
The result is deterministic. (E. R. Gansner, Y. Koren and S. North, Graph Drawing by Stress Majorization, 2004.)
"""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final

import networkx

from testbed.schema.network.topology import Topology

Point = tuple[float, float]

_ROUNDS: Final = 300
_STILL: Final = 1e-4  # the iteration ends when every point moves by less
_CLOSEST: Final = 0.75  # least distance of two points that are drawn side by side
_MOST_ENLARGED: Final = 1.5


def graph_of(topology: Topology) -> Any:
    """The graph of nodes and switches, in the order of the file. Each edge has its ``link``."""
    graph = networkx.Graph()
    graph.add_nodes_from([*topology.nodes, *topology.switches])
    graph.add_edges_from((link.a, link.b, {"link": link}) for link in topology.resolved_links)
    return graph


def layout(topology: Topology) -> dict[str, Point]:
    """Coordinates by node and switch. Links are about 1 long, or longer if two points would be too close."""
    graph = graph_of(topology)
    far = len(graph)  # to a switch without links
    hops = {a: dict.fromkeys(graph, far) | lengths for a, lengths in networkx.all_pairs_shortest_path_length(graph)}
    places = _circle(list(networkx.dfs_preorder_nodes(graph)))
    for _ in range(_ROUNDS):
        moved = 0.0
        for name in graph:
            place = _pulled(name, places, hops[name])
            moved = max(moved, math.dist(place, places[name]))
            places[name] = place
        if moved < _STILL:
            break
    return _upright(places)


def _circle(names: list[str]) -> dict[str, Point]:
    angles = {name: 2 * math.pi * number / len(names) for number, name in enumerate(names)}
    return {name: (math.cos(angle), math.sin(angle)) for name, angle in angles.items()}


def _pulled(name: str, places: Mapping[str, Point], hops: Mapping[str, int]) -> Point:
    """The place of least stress for one point while all others stay."""
    x, y = places[name]
    weights = total_x = total_y = 0.0
    for other, (other_x, other_y) in places.items():
        if other != name:
            distance = math.hypot(x - other_x, y - other_y) or 1e-9
            weight = hops[other] ** -2
            stretch = hops[other] / distance
            total_x += weight * (other_x + (x - other_x) * stretch)
            total_y += weight * (other_y + (y - other_y) * stretch)
            weights += weight
    return (total_x / weights, total_y / weights) if weights else (x, y)


def _upright(places: dict[str, Point]) -> dict[str, Point]:
    """The places rotated, so that the two farthest points are level, and enlarged, so that the closest have room."""
    if len(places) == 1:
        return places
    pairs = sorted(combinations(places.values(), 2), key=lambda pair: round(math.dist(*pair), 6))
    (a, b), closest = pairs[-1], math.dist(*pairs[0])
    angle = -math.atan2(b[1] - a[1], b[0] - a[0])
    scale = min(_MOST_ENLARGED, max(1.0, _CLOSEST / (closest or _CLOSEST)))
    along, across = scale * math.cos(angle), scale * math.sin(angle)
    return {name: (x * along - y * across, x * across + y * along) for name, (x, y) in places.items()}
