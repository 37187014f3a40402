"""What the nodes' kernels are told of the network: names, addresses, and the way to the others in few routes.

Prefixes are aggregated as in R. Draves, C. King, S. Venkatachary and B. Zill, Constructing Optimal IP Routing Tables
(INFOCOM 1999), where addresses that nobody has may go anywhere. A node with one link has one route; one between others
that follow each other in the file has a few.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from testbed.schema.network.topology import Topology

SUBNET: Final = IPv4Network("10.0.0.0/16")
"""Where the nodes' addresses come from. It is seen in the run's namespaces only."""

ON_LINK: Final = ""
"""In place of a node's address: the target takes the packet itself."""


@dataclass(frozen=True, order=True)
class Hop:
    """The first step of a way: the interface to send on, and the address of the node that takes the packet."""

    interface: str
    via: str = ON_LINK


@dataclass(frozen=True)
class Route:
    """Where packets go whose target is in ``prefix`` and in no longer one of the table."""

    prefix: IPv4Network
    hop: Hop


def addresses(topology: Topology) -> dict[str, str]:
    """The IP address of every node: the first of :data:`SUBNET`, in the order of the file."""
    return {name: str(address) for name, address in zip(topology.nodes, SUBNET.hosts(), strict=False)}


def interface_names(topology: Topology) -> dict[str, tuple[str, str]]:
    """The interfaces at the first and second end of every link, by the link's name.

    ``eth0``, ``eth1``, … in a node and ``s1-eth1``, ``s1-eth2``, … on a switch, in the order of the file.
    """
    taken: Counter[str] = Counter()

    def take(end: str) -> str:
        taken[end] += 1
        return f"eth{taken[end] - 1}" if end in topology.nodes else f"{end}-eth{taken[end]}"

    return {link.name: (take(link.a), take(link.b)) for link in topology.resolved_links}


def routing_tables(topology: Topology) -> dict[str, list[Route]]:
    """For every node, the routes to all that it can reach."""
    address, interfaces = addresses(topology), interface_names(topology)
    numbers = {name: int(IPv4Address(address[name])) for name in topology.nodes}
    tables = {}
    for node in topology.nodes:
        hops = {numbers[other]: _hop(topology, node, other, interfaces, address) for other in topology.neighbours(node)}
        tables[node] = list(_routes(_fold(SUBNET, hops), None))
    return tables


def _hop(
    topology: Topology,
    node: str,
    target: str,
    interfaces: Mapping[str, tuple[str, str]],
    address: Mapping[str, str],
) -> Hop:
    steps = topology.paths.steps(node, target)
    link, end = next(steps)
    interface = interfaces[link.name][link.b == node]
    if end in topology.nodes:
        return Hop(interface, address[end])
    taker = next(end for _, end in steps if end in topology.nodes)
    return Hop(interface) if taker == target else Hop(interface, address[taker])


@dataclass(frozen=True)
class _Part:
    """A part of the address space, and the hops of which each serves as much of it as one can; any does if none."""

    prefix: IPv4Network
    hops: frozenset[Hop]
    halves: tuple["_Part", ...] = ()


def _fold(prefix: IPv4Network, hops: Mapping[int, Hop]) -> _Part:
    """From the bottom up: what serves both halves, or else what serves either."""
    distinct = frozenset(hops.values())
    if len(distinct) <= 1:
        return _Part(prefix, distinct)
    lower, upper = prefix.subnets()
    middle = int(upper.network_address)
    halves = (
        _fold(lower, {number: hop for number, hop in hops.items() if number < middle}),
        _fold(upper, {number: hop for number, hop in hops.items() if number >= middle}),
    )
    one, other = (half.hops for half in halves)
    return _Part(prefix, (one & other) or (one | other), halves)


def _routes(part: _Part, around: Hop | None) -> Iterator[Route]:
    """From the top down: a route where that of the part around does not serve."""
    hop = around
    if part.hops and around not in part.hops:
        hop = min(part.hops)
        yield Route(part.prefix, hop)
    for half in part.halves:
        yield from _routes(half, hop)
