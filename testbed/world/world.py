"""A running world: the nodes of a topology, and the network between them."""

import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from docker.errors import DockerException
from pyroute2 import NetlinkError

from testbed.core.clock import REAL_TIME
from testbed.core.errors import SpecError
from testbed.core.input_files import input_files, relocated
from testbed.core.units import DURATION
from testbed.faults.api import Condition
from testbed.host.capacity import threads
from testbed.host.image import packages_of, reference_inside
from testbed.host.namespace import Namespace
from testbed.node import config as places
from testbed.node.config import FurtherModel, NodeConfig, PeerFacts, fingerprint_of
from testbed.patterns.base import PATTERNS, Pattern, patterns_in
from testbed.schema.network.link import DirectionName, Link
from testbed.schema.network.node import NODE_KINDS, AgentNode, ModelNode, Node
from testbed.schema.network.sensor import PowerSwitch
from testbed.world import companion
from testbed.world.authority import issue
from testbed.world.decoys import decoys_of
from testbed.world.journal import Journal
from testbed.world.network.links.running import EVENTS, RunningLinks
from testbed.world.network.network import Network
from testbed.world.network.patience import slowest
from testbed.world.network.routes import addresses
from testbed.world.nodes import metronome
from testbed.world.nodes.handle import ClockOffset, NodeGoneError, NodeHandle, PlannedNode, Site, WorldError
from testbed.world.nodes.waiting import of_all
from testbed.world.plan import Plan

LINKS: Final = "links"
"""The directory of a run's links, within the run's."""

SHARED: Final = Path("/run/testbed")
"""The directory of what host and nodes share, by run. The path of a Unix socket in it may have 107 bytes."""

LOADING: Final = 600.0
"""Seconds of the host's clock that nodes have for loading their models: several at once, from a slow disk."""

REACHING: Final = 600.0
"""Seconds of the run's clock that nodes have for reaching each other, besides what their links take.

The tuning of a slow ring takes minutes.
"""

Step = Callable[[str], AbstractContextManager[None]]
"""Makes the context in which a step is done, given the step's name."""


def running_links(run: str) -> RunningLinks:
    """The links of a run that is playing or was kept; raises SpecError if the run has none."""
    try:
        return RunningLinks.attach(SHARED / run / LINKS)
    except FileNotFoundError:
        standing = ", ".join(sorted(path.parents[1].name for path in SHARED.glob(f"*/{LINKS}/links.json"))) or "none"
        raise SpecError.of("link", f"there is no run {run!r} with links; such are: {standing}") from None


class World:
    """The nodes, links and network of a run. The builder of a world undoes its journal, also if building fails."""

    def __init__(self, plan: Plan, journal: Journal, step: Step) -> None:
        """Start all nodes, and make the network while they load their models; raises WorldError."""
        self.plan = plan
        self.clock = plan.clock
        self._journal = journal
        self._directory = SHARED / journal.run
        journal.record("directory", str(self._directory))
        self._credentials = issue(plan.scenario.security, addresses(plan.scenario.topology))
        with step("starting containers"), explained("the nodes cannot be started"):
            self.nodes = self._start_nodes(journal)
            self._metronome = self._start_metronome(journal)
        with step("making the network"), explained("the network cannot be made"):
            self.network = self._connect(journal)

    @property
    def link_events(self) -> Path:
        """The file in which every change of a link is noted, also one by another process (``testbed link``)."""
        return self._directory / LINKS / EVENTS

    def wait_until_ready(self) -> None:
        """Wait until every node has loaded its model, and has its CPU capped.

        Raises WorldError if a node ends, or does not get ready in ``LOADING`` seconds.
        """
        REAL_TIME.run(of_all(self.nodes.values(), _ready, LOADING, "load its model"))

    def reach_neighbours(self) -> None:
        """Have every node fill its tables of addresses and open the connections that prompts will use.

        Raises WorldError if a node ends, cannot reach a neighbour, or is not done in ``REACHING`` seconds.
        """
        patience, topology = self.plan.patience, self.plan.scenario.topology
        limit = REACHING + max((seconds for of_one in patience.values() for seconds in of_one.values()), default=0.0)
        reached = self.clock.run(of_all(self.nodes.values(), _reach, limit, "reach its neighbours"))
        for name, seconds in reached.items():
            for neighbour in [neighbour for neighbour, taken in seconds.items() if taken is None]:
                raise WorldError(
                    f"node {name!r} cannot reach {neighbour!r} over the emulated network within "
                    f"{DURATION.readable(patience[name][neighbour])}; {slowest(topology, name, neighbour)}"
                )

    @property
    def own_clocks(self) -> dict[str, ClockOffset]:
        """The offsets of the nodes that do not go by the host's clock."""
        return {name: node.clock_offset for name, node in self.nodes.items() if node.clock_offset != ClockOffset()}

    def evenly_capped(self) -> bool:
        """Whether CPU caps are kept evenly: the metronome has not ended, or this kernel needs none."""
        return self._metronome is None or self._metronome.poll() is None

    def original_link(self, name: str) -> Link:
        """A link as the topology describes it."""
        return next(link for link in self.plan.scenario.topology.resolved_links if link.name == name)

    def change_link(self, name: str, said: Mapping[DirectionName, Mapping[str, Any]]) -> Link:
        """Give a link the properties that ``said`` has for each direction; returns the changed link."""
        return self.links.change(name, said)

    def original_condition(self, name: str) -> Condition:
        """The condition of a node without any fault: the CPU and memory of its device, if it is emulated."""
        device = self.plan.devices.get(name)
        return Condition(device.cpus, device.memory) if device else Condition()

    def change_condition(self, name: str, before: Condition, after: Condition) -> None:
        """Bring a node from one condition into another; raises WorldError. Called in a thread of its own.

        A node that ended by itself, for example out of memory, stays as it is.
        """
        node = self.nodes[name]
        if after.powered != before.powered:
            self._switch(name, after.powered)
        if after.running and not before.running:
            self._restart(node)
            # Its caps after a restart are unknown, and all other changes went with its processes and its network.
            before = Condition(cpus=0, memory=0, slowness=before.slowness, character=before.character)
        if after.running and not node.ended and after.deaf_to != before.deaf_to:
            self.network.deafen(name, before.deaf_to, after.deaf_to)
        node.change(before, after)

    def _switch(self, name: str, on: bool) -> None:
        """Switch the plug of a node; raises OSError."""
        plug = self.plan.scenario.topology.nodes[name].power_sensor
        assert isinstance(plug, PowerSwitch)  # else `validate` refuses the fault
        if not on:
            self._journal.record("power failure", plug.model_dump_json())
        plug.switch(on)

    def _restart(self, node: NodeHandle) -> None:
        """Start a node that has ended, with the interfaces, address and routes that it had; raises WorldError."""
        process = node.start_again()
        if process is not None:
            self.network.move(node.name, process)

    def close(self) -> None:
        """Release what this process holds of the world, which runs on until its journal is undone."""
        self.network.stop()
        for node in self.nodes.values():
            node.close()

    def _start_nodes(self, journal: Journal) -> dict[str, NodeHandle]:
        scenario = self.plan.scenario
        address = addresses(scenario.topology)
        self._directory.mkdir(parents=True)
        site = Site(
            journal=journal,
            directory=self._directory,
            clock=self.clock,
            docker=self.plan.docker,
            image=self.plan.image,
            addresses=address,
            hosts=_hosts_file(self._directory, address),
            sampling=scenario.sampling,
            seed=scenario.seed,
        )
        by_kind = defaultdict[str, dict[str, PlannedNode]](dict)
        for name, node in self.plan.scenario.topology.nodes.items():
            by_kind[node.kind][name] = self._planned(name, node)
        started: dict[str, NodeHandle] = {}
        for kind, nodes in by_kind.items():
            started |= NODE_KINDS.get(kind).start(site, nodes)
        return {name: started[name] for name in self.plan.scenario.topology.nodes}

    def _planned(self, name: str, node: Node) -> PlannedNode:
        inputs = _inputs(self.plan.scenario.pattern_of(name)) if isinstance(node, AgentNode) else {}
        config = self._configuration(name, node, inputs) if isinstance(node, AgentNode) else None
        held = self.plan.holdings[name].files if name in self.plan.holdings else {}
        given = {inside: model.path for inside, model in self.plan.given.get(name, {}).items()}
        address = addresses(self.plan.scenario.topology)[name]
        return PlannedNode(name, address, node, self.plan.devices.get(name), config, {**held, **given, **inputs})

    def _configuration(self, name: str, node: AgentNode, inputs: Mapping[Path, Path]) -> NodeConfig:
        scenario, device = self.plan.scenario, self.plan.devices.get(name)
        address = addresses(scenario.topology)
        pattern = scenario.pattern_of(name)
        origins = {part.kind: PATTERNS.origin(part.kind) for part in patterns_in(pattern)}
        return NodeConfig(
            name=name,
            address=address[name],
            clock=self.clock,
            neighbours={other: address[other] for other in scenario.neighbours(name)},
            patience={other: self.plan.patience[name][other] for other in scenario.neighbours(name)},
            peers={other: self._facts(name, other) for other in (name, *scenario.neighbours(name))},
            packages={name: version for origin in origins.values() for name, version in packages_of(origin).items()},
            pattern_classes={kind: reference_inside(origin) for kind, origin in origins.items()},
            pattern=_inside(pattern, inputs),
            queue=scenario.queue,
            chat=scenario.chat.at(name),
            retry=scenario.retry,
            membership=scenario.membership,
            model=node.model,
            context=node.context,
            slots=node.slots,
            prefix_cache=isinstance(node, ModelNode) and node.prefix_cache,
            threads=threads(device.cpus / self.clock.dilation) if device else 1,
            temperature=scenario.sampling.temperature,
            max_tokens=scenario.sampling.max_tokens,
            seed=scenario.seed,
            normalisation=scenario.workload.scorer.normalisation,
            credentials=self._credentials[name],
            misbehaves=any((name, "character") in entry.fault.demands() for entry in scenario.timeline if entry.fault),
            decoys=decoys_of(scenario, name),
            further_models={
                model.reference: FurtherModel(path=inside, fingerprint=fingerprint_of(model.sha256))
                for inside, model in self.plan.given.get(name, {}).items()
            },
            models=scenario.models,
        )

    def _facts(self, name: str, other: str) -> PeerFacts:
        """What the node ``name`` is told of ``other``. Stages of a ring have no fingerprint."""
        holding = self.plan.holdings.get(other)
        whole = holding is not None and not holding.reason
        fingerprint = fingerprint_of(self.plan.models[other].sha256) if whole else ""
        return PeerFacts.of(self.plan.scenario.peer(name, other), fingerprint)

    def _start_metronome(self, journal: Journal) -> "subprocess.Popen[bytes] | None":
        """Start a metronome on the cores that nodes may run on; None if this kernel needs none."""
        if not metronome.needed():
            return None
        cores = frozenset[int]().union(*(node.cores for node in self.nodes.values()))
        return companion.start(journal, metronome.__name__, *map(str, sorted(cores)))

    def _connect(self, journal: Journal) -> Network:
        name = f"tb-{journal.run}"
        journal.record("namespace", name)
        namespaces = {name: node.namespace for name, node in self.nodes.items()}
        directory = self._directory / LINKS
        directory.mkdir()
        home = Namespace.create(name)
        with home.entered():
            self.links = RunningLinks.begin(self.plan.links, journal, directory, self.plan.scenario.seed, self.clock)
        bridges = {name: node.bridge for name, node in self.nodes.items() if node.bridge}
        network = Network(self.plan.scenario.topology, home, namespaces, self.links, self.plan.patience, bridges)
        self.links.publish()
        return network


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn errors of the engine and the kernel into a WorldError that begins with ``what``."""
    try:
        yield
    except (DockerException, NetlinkError, OSError, RuntimeError) as error:
        raise WorldError(f"{what}: {error}") from error


def _hosts_file(directory: Path, addresses: Mapping[str, str]) -> Path:
    """A new file in the form of hosts(5), which every user may read, as names are looked up in a node."""
    file = directory / "hosts"
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o444)
    return file


def _inputs(pattern: Pattern) -> dict[Path, Path]:
    """The files that a pattern reads, by where they lie inside a node."""
    return {places.INPUTS / str(number): path for number, path in enumerate(dict.fromkeys(input_files(pattern)))}


def _inside(pattern: Pattern, inputs: Mapping[Path, Path]) -> Pattern:
    """``pattern`` as a node has it, where its files lie elsewhere."""
    if not inputs:
        return pattern
    moved = {str(path): str(inside) for inside, path in inputs.items()}
    return type(pattern).model_validate(relocated(pattern.model_dump(mode="json", exclude_none=True), moved))


async def _ready(node: NodeHandle) -> None:
    async with node.session() as session:
        await session.ready()


async def _reach(node: NodeHandle) -> Mapping[str, float | None]:
    async with node.session() as session:
        try:
            return await session.reach()
        except NodeGoneError as error:
            became = "ended" if node.ended else "does not answer"
            raise WorldError(f"node {node.name!r} {became} before play ({node.exit() or error})") from error
