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
_LEAST_KEPT = 0.1  # share of round trips; what loses more is not waited for any longer
_BYTES = 2000  # of one exchange in each direction, with headers and repetitions

Patience = Mapping[str, Mapping[str, float]]
"""Seconds that each node has for reaching each of its neighbours, by their names."""


def patience(topology: Topology) -> Patience:
    """The seconds follow from the links between two nodes while all nodes reach all others at once."""
    routes = {
        (node, other): topology.route(node, other) for node in topology.nodes for other in topology.neighbours(node)
    }
    crossings = Counter(link.name for links in routes.values() for link in links)
    seconds = {link.name: _seconds(link, crossings[link.name]) for link in topology.resolved_links}
    kept = {link.name: _kept(link) for link in topology.resolved_links}

    def of_route(links: Sequence[Link]) -> float:
        """What one link loses is sent again over all of them."""
        whole = max(math.prod(kept[link.name] for link in links), _LEAST_KEPT)
        return (_NODE + sum(seconds[link.name] for link in links)) / whole

    return {
        node: {other: of_route(routes[node, other]) for other in topology.neighbours(node)} for node in topology.nodes
    }


def slowest(topology: Topology, source: str, target: str) -> str:
    """The link on the path between two nodes on which an exchange takes longest, as a clause with its figure."""
    route = topology.route(source, target)
    link, seconds = max(
        ((link, _seconds(link, 1) / max(_kept(link), _LEAST_KEPT)) for link in route), key=lambda of: of[1]
    )
    return f"the slowest link between them is {link.name}, which delays an exchange by {DURATION.readable(seconds)}"


def _seconds(link: Link, exchanges: int) -> float:
    """What a link adds to each of some exchanges that cross it at once, none of which it loses."""
    return sum(_crossing(link.direction(name), exchanges) for name in DIRECTIONS)


def _kept(link: Link) -> float:
    """The share of round trips that a link does not lose."""
    return (1 - link.up.loss.mean) * (1 - link.down.loss.mean)


def _crossing(direction: Direction, exchanges: int) -> float:
    slowest_frame = direction.delay + 6 * direction.jitter.deviation
    # A connection that meets an outage tries again after up to as long as it has waited.
    outage = 0.0 if direction.trace is None else 2 * direction.trace.longest_gap
    return _ROUND_TRIPS * slowest_frame + exchanges * _BYTES * 8 / direction.rate + outage
