"""Routes: the paths that the specification promises, and the tables by which the kernels of the nodes keep them."""

import random
from ipaddress import IPv4Address
from itertools import pairwise
from typing import Any

import networkx
import pytest

from testbed.schema.network.link import Link
from testbed.schema.network.topology import Topology
from testbed.world.network.routes import ON_LINK, Route, addresses, interface_names, routing_tables

NODE = {"model": "zoo/alpha", "cpus": 0.1, "memory": "64MiB"}
MOST_LETTERS = 15  # of an interface's name: IFNAMSIZ less the closing zero


def _topology(nodes: list[str], switches: list[str], links: list[dict[str, Any]]) -> Topology:
    return Topology.model_validate(
        {"name": "t", "nodes": dict.fromkeys(nodes, NODE), "switches": switches, "links": links}
    )


def _random_topology(seed: int) -> Topology:
    """Nodes and switches under many links; delays so coarse that paths tie. Switches form no loop."""
    draw = random.Random(seed)
    nodes = [f"n{number}" for number in range(draw.randint(2, 7))]
    switches = [f"s{number}" for number in range(draw.randint(0, 3))]
    pairs = [(switch, draw.choice(switches[:index])) for index, switch in enumerate(switches) if index]
    pairs += [(node, draw.choice([*nodes[:index], *switches] or nodes)) for index, node in enumerate(nodes) if index]
    pairs += [(switches[0], nodes[0])] if switches else []
    pairs += [(draw.choice(nodes), draw.choice([*nodes, *switches])) for _ in range(draw.randint(0, 6))]
    distinct = {frozenset(pair): pair for pair in pairs if pair[0] != pair[1]}
    entries = [
        {"endpoints": list(pair), "delay": f"{draw.randint(1, 3)}ms", "down": {"delay": f"{draw.randint(1, 3)}ms"}}
        for pair in distinct.values()
    ]
    draw.shuffle(entries)
    return _topology(nodes, switches, entries)


def _best_path(topology: Topology, source: str, target: str) -> list[Link]:
    """By trying every way there is."""
    links = {frozenset((link.a, link.b)): link for link in topology.resolved_links}
    order = {link.name: number for number, link in enumerate(topology.resolved_links)}
    graph = networkx.Graph(tuple(pair) for pair in links)

    def cost(path: list[Link]) -> tuple[int, int, int]:
        time = sum(round((link.up.delay + link.down.delay) * 1e6) for link in path)
        return time, len(path), sum(2 ** order[link.name] for link in path)

    paths = networkx.all_simple_edge_paths(graph, source, target)
    return min(([links[frozenset(pair)] for pair in path] for path in paths), key=cost)


def _look_up(table: list[Route], address: str) -> Route:
    return max(
        (route for route in table if IPv4Address(address) in route.prefix), key=lambda route: route.prefix.prefixlen
    )


class Forwarding:
    """Packets on their way by the tables of the nodes and the bridges between them."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._tables = routing_tables(topology)
        self._address = addresses(topology)
        self._by_interface = {
            (end, interface): link
            for link in topology.resolved_links
            for end, interface in zip((link.a, link.b), interface_names(topology)[link.name], strict=True)
        }

    def links(self, source: str, target: str) -> list[Link]:
        crossed, here = [], source
        while here != target:
            assert len(crossed) <= len(self._topology.links), "the packet goes round in circles"
            hop = _look_up(self._tables[here], self._address[target]).hop
            link = self._by_interface[here, hop.interface]
            taker = self._address[target] if hop.via == ON_LINK else hop.via
            way = self._across(here, link, taker)
            crossed += way
            here = next(name for name, address in self._address.items() if address == taker)
        return crossed

    def _across(self, node: str, first: Link, taker: str) -> list[Link]:
        """Over one link, and through the switches behind it, to the node that has the address."""
        frontier = [([first], first.b if first.a == node else first.a)]
        for way, end in frontier:
            if self._address.get(end) == taker:
                return way
            if end in self._topology.switches:
                frontier += [
                    ([*way, link], link.b if link.a == end else link.a)
                    for link in self._topology.resolved_links
                    if end in (link.a, link.b) and link not in way
                ]
        raise AssertionError(f"nobody behind {first.name} has {taker}")


@pytest.mark.parametrize("seed", range(60))
def test_packets_take_the_shortest_path_and_the_same_back(seed: int) -> None:
    topology = _random_topology(seed)
    packets = Forwarding(topology)
    for source in topology.nodes:
        assert topology.neighbours(source) == [node for node in topology.nodes if node != source]
        for target in topology.neighbours(source):
            best = _best_path(topology, source, target)
            assert topology.route(source, target) == best
            assert topology.route(target, source) == best[::-1]
            assert packets.links(source, target) == best


def test_bandwidth_counts_as_the_time_that_a_full_frame_takes() -> None:
    """1,514 bytes at 1 Mbit/s are 12 ms, each way: the way round, with 2 × 5 ms, is shorter."""
    slow = {"endpoints": ["a", "b"], "bandwidth": "1mbit"}
    ways_round = [{"endpoints": ["a", "c"], "delay": "5ms"}, {"endpoints": ["c", "b"], "delay": "5ms"}]
    topology = _topology(["a", "b", "c"], [], [slow, *ways_round])
    assert [link.name for link in topology.route("a", "b")] == ["a-c", "c-b"]


def test_a_node_that_is_alone_needs_no_link_to_reach_itself() -> None:
    assert _topology(["a"], [], []).route("a", "a") == []


def test_of_equally_long_paths_that_with_fewer_links_counts() -> None:
    ends = [["a", "b"], ["b", "c"], ["a", "c"]]
    delays = ["1ms", "1ms", "2ms"]
    topology = _topology(["a", "b", "c"], [], [{"endpoints": e, "delay": d} for e, d in zip(ends, delays, strict=True)])
    assert [link.name for link in topology.route("a", "c")] == ["a-c"]


def _star(size: int) -> Topology:
    nodes = [f"node-{number}" for number in range(size)]
    return _topology(nodes, ["s1234567"], [{"endpoints": [node, "s1234567"]} for node in nodes])


def _chain(size: int) -> Topology:
    """A switch for each node, one behind the other."""
    nodes, switches = [f"node-{number}" for number in range(size)], [f"s{number}" for number in range(size)]
    pairs = [*zip(nodes, switches, strict=True), *pairwise(switches)]
    return _topology(nodes, switches, [{"endpoints": list(pair)} for pair in pairs])


@pytest.mark.parametrize("topology", [_star(500), _chain(500)], ids=["star", "chain of switches"])
def test_no_interface_shares_its_name_with_another_in_its_namespace(topology: Topology) -> None:
    names = interface_names(topology)
    on_switches, in_nodes = [], []
    for link in topology.resolved_links:
        for end, name in zip((link.a, link.b), names[link.name], strict=True):
            assert len(name) <= MOST_LETTERS
            if end in topology.nodes:
                in_nodes.append((end, name))
            else:
                on_switches.append(name)
    assert len(set(on_switches)) == len(on_switches)
    assert not set(on_switches) & set(topology.switches)
    assert len(set(in_nodes)) == len(in_nodes) == 500


def test_a_node_with_one_link_has_one_route() -> None:
    tables = routing_tables(_star(100))
    assert {len(table) for table in tables.values()} == {1}
    nodes = [f"n{number}" for number in range(100)]
    line = _topology(nodes, [], [{"endpoints": list(pair)} for pair in pairwise(nodes)])
    sizes = [len(table) for table in routing_tables(line).values()]
    assert sizes[0] == sizes[-1] == 1
    assert max(sizes) <= 8  # 98 without aggregation
