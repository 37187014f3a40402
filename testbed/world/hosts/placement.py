"""Which host each node and switch stands on, so that few links cross between hosts.

    links without a delay join their ends to blocks → blocks are placed one after the other → moves and swaps

The fewest crossing links are hard to find (graph partitioning is NP-hard). So two orders of placing are tried, each
result is improved until no move and no swap of two blocks saves a link, and the better one is taken.
"""

import math
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import networkx

from testbed.core.errors import HostError, SpecError
from testbed.core.units import SIZE
from testbed.schema.hosts import EngineHost, EngineHosts
from testbed.schema.network.link import Link
from testbed.schema.network.topology import Topology
from testbed.schema.scenario import Scenario


@dataclass(frozen=True)
class Demand:
    """What nodes ask of a host: its cores, and bytes of its memory."""

    cpus: float
    memory: int

    @classmethod
    def together(cls, demands: Iterable["Demand"]) -> "Demand":
        """The sum, rounded once: twenty times 0.1 cores are exactly 2."""
        every = list(demands)
        return cls(math.fsum(one.cpus for one in every), sum(one.memory for one in every))

    def share(self, host: EngineHost) -> float:
        """The part of a host that it takes; above 1 it does not fit."""
        return max(self.cpus / host.cpus, self.memory / host.memory)


@dataclass(frozen=True)
class Placement:
    """The host of each node and switch, what each host has to give, and the links between hosts."""

    hosts: Mapping[str, str]
    demands: Mapping[str, Demand]
    crossing: tuple[Link, ...]

    def on(self, host: str) -> list[str]:
        """The nodes on a host in the order of the topology file, then its switches."""
        return [name for name, chosen in self.hosts.items() if chosen == host]


def place(scenario: Scenario, hosts: EngineHosts) -> Placement:
    """Place the nodes and switches of a scenario's topology.

    Raises SpecError if the files leave open what a node asks, or separate what cannot be; HostError if no placement
    was found.
    """
    topology = scenario.topology
    demands = _demands(scenario)
    search = _Search(hosts.root, _blocks(topology, demands, hosts.chosen), topology.resolved_links)
    chosen = search.best()
    on = {name: chosen[block] for block in search.blocks for name in block.names}
    placed = {name: on[name] for name in (*topology.nodes, *topology.switches)}
    return Placement(
        placed,
        {host: search.demand(host, chosen) for host in hosts.root},
        tuple(link for link in topology.resolved_links if placed[link.a] != placed[link.b]),
    )


@dataclass(frozen=True, eq=False)
class _Block:
    """Nodes and switches that no link with a delay separates, and the host that the file chooses for them."""

    names: tuple[str, ...]
    demand: Demand
    host: str | None


_Chosen = dict[_Block, str]


def _demands(scenario: Scenario) -> dict[str, Demand]:
    """What each emulated node asks of its host; raises SpecError where that is open."""
    if scenario.dilation == "auto":
        raise SpecError.of("dilation", "`auto` is for one host; for several write a number, like 1")
    if scenario.oversubscribe:
        raise SpecError.of("oversubscribe", "is for one host; leave it out for several")
    demands = {}
    for name, node in scenario.topology.emulated.items():
        if node.cpus is None:
            raise SpecError.of(
                f"nodes.{name}", "has the speed of its device, whose CPU differs by host; give it `cpus`"
            )
        demands[name] = Demand(node.cpus / scenario.dilation, node.memory)
    return demands


def _blocks(topology: Topology, demands: Mapping[str, Demand], chosen: Mapping[str, str]) -> list[_Block]:
    graph = networkx.Graph()
    graph.add_nodes_from((*topology.nodes, *topology.switches))
    graph.add_edges_from(
        (link.a, link.b) for link in topology.resolved_links if not (link.up.delay and link.down.delay)
    )
    return [_block(sorted(names), demands, chosen) for names in networkx.connected_components(graph)]


def _block(names: Sequence[str], demands: Mapping[str, Demand], chosen: Mapping[str, str]) -> _Block:
    hosts = {chosen[name]: name for name in names if name in chosen}
    if len(hosts) > 1:
        a, b = list(hosts.values())[:2]
        raise SpecError.of(
            "--hosts", f"{a!r} and {b!r} are on two hosts, and links without a delay join them; give one link a `delay`"
        )
    demand = Demand.together(demands[name] for name in names if name in demands)
    return _Block(tuple(names), demand, next(iter(hosts), None))


@dataclass(frozen=True)
class _Search:
    hosts: Mapping[str, EngineHost]
    blocks: Sequence[_Block]
    links: Sequence[Link]

    def best(self) -> _Chosen:
        """The better placement of the two orders; raises HostError if neither fits."""
        large_first = sorted(self.blocks, key=lambda block: -self._size(block))
        found = [
            self._improved(placed) for order in (large_first, self._along_links) if (placed := self._placed(order))
        ]
        if not found:
            raise self._failure()
        return min(found, key=self._crossing)

    def demand(self, host: str, chosen: _Chosen) -> Demand:
        """What the blocks on a host ask of it."""
        return Demand.together(block.demand for block, on in chosen.items() if on == host)

    def _size(self, block: _Block) -> float:
        return max(block.demand.share(host) for host in self.hosts.values())

    @cached_property
    def _ties(self) -> dict[_Block, dict[_Block, int]]:
        """How many links each block has to each other one."""
        of = {name: block for block in self.blocks for name in block.names}
        ties: dict[_Block, dict[_Block, int]] = {block: {} for block in self.blocks}
        for link in self.links:
            a, b = of[link.a], of[link.b]
            if a != b:
                ties[a][b] = ties[b][a] = ties[a].get(b, 0) + 1
        return ties

    @cached_property
    def _along_links(self) -> list[_Block]:
        """The blocks that the file places, or the first one, and then each block that is linked to an earlier one."""
        chosen = [block for block in self.blocks if block.host is not None]
        order = dict.fromkeys(chosen or self.blocks[:1])
        reached = list(order)
        for block in reached:
            fresh = [other for other in self._ties[block] if other not in order]
            order.update(dict.fromkeys(fresh))
            reached += fresh
        return reached

    def _placed(self, order: Iterable[_Block]) -> _Chosen | None:
        """Each block on the host that has most of its links, and among equals most room; None if one fits nowhere."""
        chosen: _Chosen = {block: block.host for block in self.blocks if block.host is not None}
        if not self._fits(chosen):
            return None
        for block in order:
            if block in chosen:
                continue
            rooms = {host: self._room(host, chosen, block) for host in self.hosts}
            fitting = [host for host, room in rooms.items() if room >= 0]
            if not fitting:
                return None
            chosen[block] = max(fitting, key=lambda host: (self._tied(block, host, chosen), rooms[host]))
        return chosen

    def _room(self, host: str, chosen: _Chosen, more: _Block) -> float:
        """The part of a host that is free when it has one block more; below 0 the block does not fit."""
        return 1 - self.demand(host, {**chosen, more: host}).share(self.hosts[host])

    def _fits(self, chosen: _Chosen) -> bool:
        return all(self.demand(name, chosen).share(host) <= 1 for name, host in self.hosts.items())

    def _tied(self, block: _Block, host: str, chosen: _Chosen) -> int:
        return sum(links for other, links in self._ties[block].items() if chosen.get(other) == host)

    def _crossing(self, chosen: _Chosen) -> int:
        return sum(
            links
            for block, ties in self._ties.items()
            for other, links in ties.items()
            if chosen[block] != chosen[other]
        )

    def _improved(self, chosen: _Chosen) -> _Chosen:
        while self._improve(chosen):
            pass
        return chosen

    def _improve(self, chosen: _Chosen) -> bool:
        """Make every move and swap that saves links and fits, in one pass; returns whether there was one."""
        improved = False
        for change in self._changes(chosen):
            if self._saved(change, chosen) > 0 and self._fits({**chosen, **change}):
                chosen.update(change)
                improved = True
        return improved

    def _saved(self, change: _Chosen, chosen: _Chosen) -> int:
        """How many crossing links fewer a move or swap leaves."""
        after = ChainMap(change, chosen)
        return sum(
            links * ((chosen[block] != chosen[other]) - (after[block] != after[other]))
            for block in change
            for other, links in self._ties[block].items()
        )

    def _changes(self, chosen: _Chosen) -> Iterator[_Chosen]:
        """All moves and swaps. ``chosen`` may change between two of them."""
        free = [block for block in self.blocks if block.host is None]
        yield from ({block: host} for block in free for host in self.hosts if host != chosen[block])
        yield from ({a: chosen[b], b: chosen[a]} for a, b in combinations(free, 2) if chosen[a] != chosen[b])

    def _failure(self) -> HostError:
        asked = Demand.together(block.demand for block in self.blocks)
        had = Demand(sum(host.cpus for host in self.hosts.values()), sum(host.memory for host in self.hosts.values()))
        return HostError(
            f"no placement was found: the nodes ask for {asked.cpus:.4g} CPUs and {SIZE.readable(asked.memory)} of "
            f"memory, and the hosts have {had.cpus:.4g} and {SIZE.readable(had.memory)} together; links without a "
            "`delay` keep their ends on one host; add a host, lower `cpus` or `memory`, or give such links a `delay`"
        )
