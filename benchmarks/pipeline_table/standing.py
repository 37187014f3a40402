"""A running world for measurements: up to four nodes with a link between any two."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psutil
from aiohttp import ClientSession, ClientTimeout, UnixConnector
from docker.models.containers import Container

from testbed.analysis.events import Event
from testbed.models.random_weights import RECIPES
from testbed.node import config as places
from testbed.schema.scenario import Scenario
from testbed.world import watcher
from testbed.world.journal import Journal
from testbed.world.network.routes import interface_names
from testbed.world.nodes.cgroups import Cgroup
from testbed.world.nodes.container import ContainerNode
from testbed.world.nodes.containers import container_name
from testbed.world.plan import Plan, prepare
from testbed.world.world import World

NAMES: Final = ("a", "b", "c", "d")
CPUS: Final = 0.45
RATE: Final = 20e6  # bit/s
WIDTH: Final = 1024

MODEL: Final = RECIPES["bench-195m-q4_0"]
"""16 layers of random weights, 108 MB."""

_LOOK: Final = 0.25  # seconds between two looks at the links' counters
_HEADERS: Final = 66  # bytes of Ethernet, IPv4, and TCP with its timestamps
_SEGMENT: Final = 1448  # bytes of TCP's content in a full frame


def wire_bytes(size: int) -> int:
    """The bytes of a message of ``size`` bytes on a link, with packet headers."""
    return size + _HEADERS * -(-size // _SEGMENT)


@dataclass(frozen=True)
class Setup:
    """So many nodes, links of 20 Mbit/s with a ``delay`` in seconds, and what the nodes do on them.

    All hold ``model``; in a ring, its layers between them.
    """

    nodes: int
    pattern: Mapping[str, Any]
    delay: float = 0.0
    context: int = 256
    model: str | None = None  # the benchmark's own
    cpus: float = CPUS

    @property
    def names(self) -> Sequence[str]:
        """The names of the nodes."""
        return NAMES[: self.nodes]

    @classmethod
    def ring(cls, nodes: int, options: Mapping[str, Any], delay: float = 0.0, context: int = 256) -> "Setup":
        """A ring over all nodes with these ``options``."""
        return cls(nodes, {"kind": "pipeline", "ring": list(NAMES[:nodes]), **options}, delay, context)

    def scenario(self) -> Scenario:
        """As a scenario, whose workload is never played: the benchmark asks the head itself."""
        node = {
            "model": self.model or f"path:{MODEL.drawn()}",
            "cpus": self.cpus,
            "memory": "640MiB",
            "context": self.context,
        }
        links = [{"endpoints": list(pair)} for pair in itertools.combinations(self.names, 2)]
        return Scenario.model_validate(
            {
                "name": "pipeline-benchmark",
                "topology": {
                    "name": "mesh",
                    "defaults": {"link": {"bandwidth": f"{RATE / 1e6:g}mbit", "delay": f"{self.delay * 1e3:g}ms"}},
                    "nodes": dict.fromkeys(self.names, node),
                    "links": links,
                },
                "pattern": dict(self.pattern),
                "sampling": {"temperature": 0.0},
                "workload": {"prompts": "worldfacts", "arrivals": {"rate": "1/s"}, "count": 1},
            }
        )


@dataclass(frozen=True)
class Sent:
    """The traffic of a node on one link."""

    size: int
    packets: int

    def since(self, before: "Sent") -> "Sent":
        """The traffic since an earlier reading."""
        return Sent(self.size - before.size, self.packets - before.packets)

    @property
    def headers(self) -> int:
        """The bytes of Ethernet, IP and TCP headers."""
        return _HEADERS * self.packets


@dataclass(frozen=True)
class Played:
    """What came of prompts that were begun at once: the ``answers``, and what the nodes traced meanwhile.

    ``carried`` are the bytes of all links together, with the times at which they were looked at.
    """

    answers: Sequence[str]
    events: Sequence[Event]
    carried: Sequence[tuple[float, int]]

    def times(self, kind: str) -> list[float]:
        """The times of events of a kind."""
        return sorted(event["t"] for event in self.events if event["event"] == kind)

    def computed(self, node: str) -> list[Event]:
        """The batches that a node computed."""
        return [event for event in self.events if event["event"] == "computed" and event["node"] == node]


@dataclass
class Standing:
    """A running world; ``ready`` is the seconds of its start, from the first container on."""

    run: str
    world: World
    plan: Plan
    ready: float
    names: Sequence[str]
    _cgroups: dict[str, Cgroup] = field(default_factory=dict)

    def play(self, prompts: Sequence[str], tokens: int) -> Played:
        """Submit all prompts to the head at once, with at most ``tokens`` tokens each."""
        self._new_events()
        answers, carried = self.world.clock.run(self._complete(prompts, tokens))
        return Played(answers, sorted(self._new_events(), key=lambda event: event["t"]), carried)

    def _new_events(self) -> list[Event]:
        """The nodes' events since the last call."""
        return self.world.clock.run(self._take_events())

    async def _take_events(self) -> list[Event]:
        events: list[Event] = []
        for node in self.world.nodes.values():
            async with node.session() as session:
                events += await session.last_events()
        return events

    def node(self, name: str) -> ContainerNode:
        """The container of a node."""
        node = self.world.nodes[name]
        assert isinstance(node, ContainerNode)
        return node

    async def _complete(self, prompts: Sequence[str], tokens: int) -> tuple[list[str], list[tuple[float, int]]]:
        carried: list[tuple[float, int]] = []
        socket = str(self.node(NAMES[0]).shared / places.SOCKET)
        async with ClientSession(
            "http://agent", connector=UnixConnector(socket, limit=0), timeout=ClientTimeout(total=None)
        ) as session:
            looking = asyncio.create_task(self._look(carried))
            answers = await asyncio.gather(*(_chat(session, prompt, tokens) for prompt in prompts))
            looking.cancel()
        carried.append((self.world.clock.now(), self.carried))
        return answers, carried

    async def _look(self, carried: list[tuple[float, int]]) -> None:
        while True:
            carried.append((self.world.clock.now(), self.carried))
            await asyncio.sleep(_LOOK)

    @property
    def carried(self) -> int:
        """Bytes on all links so far, in both directions."""
        return sum(traffic.up + traffic.down for traffic in self.world.network.traffic().values())

    def sent(self, source: str, target: str) -> Sent:
        """The traffic from one node on its link to another (proc(5), /proc/PID/net/dev)."""
        topology = self.plan.scenario.topology
        link = next(link for link in topology.resolved_links if {link.a, link.b} == {source, target})
        interface = interface_names(topology)[link.name][0 if link.a == source else 1]
        with self.world.nodes[source].namespace.entered():
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        counts = next(line for line in lines if line.strip().startswith(f"{interface}:")).partition(":")[2].split()
        return Sent(int(counts[8]), int(counts[9]))

    def container(self, node: str) -> Container:
        """The Docker container of a node."""
        return self.plan.docker.containers.get(container_name(self.run, node))

    def set_delay(self, delay: float) -> None:
        """Change the delay of all links in place."""
        for link in self.plan.scenario.topology.resolved_links:
            self.world.links.change(link.name, {"up": {"delay": delay}, "down": {"delay": delay}})

    def resident(self) -> list[int]:
        """Resident bytes of each node's processes, without the page cache."""
        processes = [[psutil.Process(pid) for pid in self._cgroup(name).processes()] for name in self.names]
        return [sum(process.memory_info().rss for process in of_node) for of_node in processes]

    def memory(self) -> list[int]:
        """Bytes of each node's cgroup, including the page cache."""
        return [self._cgroup(name).read().memory for name in self.names]

    def cpu(self) -> list[float]:
        """CPU seconds used by each node."""
        return [self._cgroup(name).read().cpu for name in self.names]

    def _cgroup(self, name: str) -> Cgroup:
        if name not in self._cgroups:
            self._cgroups[name] = Cgroup(self.node(name).pid)
        return self._cgroups[name]


async def _chat(session: ClientSession, prompt: str, tokens: int) -> str:
    request = {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 0.0}
    async with session.post("/v1/chat/completions", json=request) as response:
        answer = await response.json()
        response.raise_for_status()
        return str(answer["choices"][0]["message"]["content"])


@contextmanager
def standing(setup: Setup, files: Mapping[Path, Path] | None = None) -> Iterator[Standing]:
    """Let the nodes stand, with their CPU capped and every neighbour reached; all is gone at the end.

    ``files`` are those that every node may read besides, by where they lie inside it.
    """
    plan = prepare(setup.scenario(), None, lambda _: None)
    holdings = {
        name: replace(holding, files={**holding.files, **(files or {})}) for name, holding in plan.holdings.items()
    }
    plan = replace(plan, holdings=holdings)
    journal = Journal.begin()
    watch = watcher.start(journal)
    try:
        begin = time.monotonic()
        world = World(plan, journal, _silently)
        try:
            world.wait_until_ready()
            world.reach_neighbours()
            ready = time.monotonic() - begin
            yield Standing(journal.run, world, plan, ready, setup.names)
        finally:
            world.close()
    finally:
        journal.undo()
        journal.close()
        watch.wait()


@contextmanager
def _silently(_: str) -> Iterator[None]:
    yield
