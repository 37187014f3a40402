"""The nodes' interface names, addresses and routing tables, with as few routes as possible.

Prefixes are aggregated as in R. Draves, C. King, S. Venkatachary and B. Zill, Constructing Optimal IP Routing Tables
(INFOCOM 1999). Addresses that no node has may be routed anywhere. A node with one link has one route. A node with
several has few where the nodes behind each link follow each other in the file.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from testbed.schema.network.topology import Topology

SUBNET: Final = IPv4Network("10.0.0.0/16")
"""The nodes' addresses. They are visible in the run's namespaces only."""

ON_LINK: Final = ""
"""In place of a node's address: the packet goes straight to its target."""


@dataclass(frozen=True, order=True)
class Hop:
    """The first hop of a path: the interface to send on, and the address of the next node."""

    interface: str
    via: str = ON_LINK


@dataclass(frozen=True)
class Route:
    """The hop for targets in ``prefix`` that are in no longer prefix of the table."""

    prefix: IPv4Network
    hop: Hop


def addresses(topology: Topology) -> dict[str, str]:
    """The IP address of every node: the addresses of :data:`SUBNET` from the first on, in the order of the file."""
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
    """For every node, the routes to all nodes that it can reach."""
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
    """A part of the address space, and the hops that serve most of it. No hops: any hop serves."""

    prefix: IPv4Network
    hops: frozenset[Hop]
    halves: tuple["_Part", ...] = ()


def _fold(prefix: IPv4Network, hops: Mapping[int, Hop]) -> _Part:
    """Bottom-up pass: the hops that serve both halves, or else those that serve one."""
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
    """Top-down pass: a route for each part that the hop ``around`` does not serve."""
    hop = around
    if part.hops and around not in part.hops:
        hop = min(part.hops)
        yield Route(part.prefix, hop)
    for half in part.halves:
        yield from _routes(half, hop)
