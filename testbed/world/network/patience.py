"""How long nodes have for reaching each other, by what their links can carry."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from testbed.core.units import DURATION
from testbed.schema.network.direction import Direction
from testbed.schema.network.link import DIRECTIONS, Link
from testbed.schema.network.topology import Topology

_NODE = 5.0  # seconds that a node has for answering, and a lost packet for being repeated
_ROUND_TRIPS = 4  # ARP, the opening of a connection, the request; one to spare
_BYTES = 2000  # of one exchange in each direction, with headers and repetitions

Patience = Mapping[str, Mapping[str, float]]
"""Seconds that each node has for reaching each of its neighbours, by their names."""


def patience(topology: Topology) -> Patience:
    """The seconds follow from the links between two nodes while all nodes reach all others at once."""
    routes = {
        (node, other): topology.route(node, other) for node in topology.nodes for other in topology.neighbours(node)
    }
    crossings = Counter(link.name for links in routes.values() for link in links)
    return {
        node: {
            other: (_NODE + _seconds(routes[node, other], crossings)) / _kept(routes[node, other])
            for other in topology.neighbours(node)
        }
        for node in topology.nodes
    }


def slowest(topology: Topology, source: str, target: str) -> str:
    """The link on the path between two nodes on which an exchange takes longest, as a clause with its figure."""
    alone = ((link, _seconds([link], {link.name: 1}) / _kept([link])) for link in topology.route(source, target))
    link, seconds = max(alone, key=lambda of: of[1])
    return f"the slowest link between them is {link.name}, which delays an exchange by {DURATION.readable(seconds)}"


def _seconds(path: Sequence[Link], exchanges: Mapping[str, int]) -> float:
    """What links without losses add to an exchange while so many cross each of them at once."""
    return sum(_crossing(link.direction(name), exchanges[link.name]) for link in path for name in DIRECTIONS)


def _kept(path: Sequence[Link]) -> float:
    """The share of round trips that no link loses, at least a tenth; a lost one begins anew on all links."""
    return max(math.prod((1 - link.up.loss.mean) * (1 - link.down.loss.mean) for link in path), 0.1)


def _crossing(direction: Direction, exchanges: int) -> float:
    slowest_frame = direction.delay + 6 * direction.jitter.deviation
    # A connection that meets an outage tries again after up to as long as it has waited.
    outage = 0.0 if direction.trace is None else 2 * direction.trace.longest_gap
    return _ROUND_TRIPS * slowest_frame + exchanges * _BYTES * 8 / direction.rate + outage
