"""A topology that stands: its containers and the network between them."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from docker.errors import DockerException
from pyroute2 import NetlinkError

from testbed.core.errors import SpecError
from testbed.faults.api import Condition
from testbed.host.capacity import threads
from testbed.host.cfs import CFS_PERIOD
from testbed.host.image import NODE_UID, packages_of, reference_inside
from testbed.host.namespace import Namespace
from testbed.node import config as places
from testbed.node.config import NodeConfig, PeerFacts
from testbed.patterns.base import PATTERNS
from testbed.schema.network.link import DirectionName, Link
from testbed.world import companion
from testbed.world.journal import Journal
from testbed.world.network.links.running import EVENTS, RunningLinks
from testbed.world.network.network import Network
from testbed.world.network.routes import addresses
from testbed.world.nodes import metronome
from testbed.world.nodes.container import WorldError, last_lines, start_containers
from testbed.world.plan import Plan

LINKS: Final = "links"
"""The directory of a run's links, in its own."""


SHARED: Final = Path("/run/testbed")
"""Where runs keep what hosts and nodes both see. The path is short, as a Unix socket's must be below 108 bytes."""

_GLANCE = 0.01  # seconds between two looks at whether an agent is ready


Step = Callable[[str], AbstractContextManager[None]]
"""What a step of the work is done within; it is told the step's name."""


def running_links(run: str) -> RunningLinks:
    """The links of a run that goes on or was kept; raises SpecError if there is none."""
    try:
        return RunningLinks.attach(SHARED / run / LINKS)
    except FileNotFoundError:
        standing = ", ".join(sorted(path.parents[1].name for path in SHARED.glob(f"*/{LINKS}/links.json"))) or "none"
        raise SpecError.of("link", f"there is no run {run!r} with links; such are: {standing}") from None


class World:
    """The nodes of a run. Whoever builds one undoes its journal afterwards, whatever happened."""

    def __init__(self, plan: Plan, journal: Journal, step: Step) -> None:
        """Start every container, which takes the longest, and make the network while the agents load their models."""
        self.plan = plan
        self.clock = plan.clock
        self._directory = SHARED / journal.run
        self.shared = self._share(journal)
        nodes = plan.scenario.topology.nodes
        files = {name: holding.files for name, holding in plan.holdings.items()}
        with step("starting containers"), explained("the containers cannot be started"):
            self.nodes = start_containers(plan.docker, journal, plan.image, nodes, files, self.shared)
            self._metronome = self._start_metronome(journal)
        with step("making the network"), explained("the network cannot be made"):
            self.network = self._connect(journal)

    def socket(self, node: str) -> Path:
        """Where the host reaches a node's agent."""
        return self.shared[node] / places.SOCKET

    def events(self, node: str) -> Path:
        """The file that a node writes its events to."""
        return self.shared[node] / places.EVENTS

    @property
    def link_events(self) -> Path:
        """The file that those who change links note it in."""
        return self._directory / LINKS / EVENTS

    def wait_until_ready(self) -> None:
        """Wait for every agent to have its model loaded, then give each node the CPU of its device and no more."""
        for name, node in self.nodes.items():
            while not self.socket(name).exists():
                if (end := node.exit()) is not None:
                    raise WorldError(f"node {name!r} did not start: {end}\n{last_lines(node.logs())}")
                time.sleep(_GLANCE)
        for name, device in self.plan.devices.items():
            self.cap_cpu(name, device.cpus)

    def cap_cpu(self, name: str, cpus: float) -> None:
        """Let a node use ``cpus`` cores' worth of time from now on, by the run's clock."""
        self.nodes[name].cap_cpu(cpus / self.clock.dilation, self.clock.real(CFS_PERIOD))

    def evenly_capped(self) -> bool:
        """Whether nodes still get their CPU evenly: where that needs a metronome, it has not ended."""
        return self._metronome is None or self._metronome.poll() is None

    def restart(self, name: str) -> None:
        """Start a node that has ended, in a network as before; raises WorldError. Its CPU is capped from the start."""
        self.nodes[name].start_again()
        self.network.move(name, self.nodes[name].pid)

    def slow_down(self, name: str, slowness: float) -> None:
        """Let a node's model take so many times as long from its next token on, whether its agent runs now or not."""
        told = self.shared[name] / places.SLOWNESS
        if slowness == 1:
            told.unlink(missing_ok=True)
            return
        new = self._directory / f"{name}.{places.SLOWNESS}"  # which the agent cannot see half-written, nor replace
        new.write_text(repr(slowness))
        new.replace(told)

    def original_link(self, name: str) -> Link:
        """A link as the topology describes it."""
        return next(link for link in self.plan.scenario.topology.resolved_links if link.name == name)

    def change_link(self, name: str, said: Mapping[DirectionName, Mapping[str, Any]]) -> Link:
        """Give a link the properties that are said of each direction; the link as it is then."""
        return self.links.change(name, said)

    def original_condition(self, name: str) -> Condition:
        """The condition of a node that no fault has: as its device is."""
        device = self.plan.devices[name]
        return Condition(device.cpus, device.memory)

    def change_condition(self, name: str, before: Condition, after: Condition) -> None:
        """Change what differs. A node that has ended otherwise, by running out of memory, needs no change."""
        node = self.nodes[name]
        if after.slowness != before.slowness:  # of a node that has ended, too: it holds when it is started again
            self.slow_down(name, after.slowness)
        if before.running and not after.running:
            node.kill()
        if after.running and not before.running:
            self.restart(name)
            before = Condition(cpus=0, memory=0)  # nobody knows with which caps it was started
        if node.ended:
            return
        if after.deaf_to != before.deaf_to:
            self.network.deafen(name, before.deaf_to, after.deaf_to)
        if after.cpus != before.cpus:
            self.cap_cpu(name, after.cpus)
        if after.memory != before.memory:
            node.cap_memory(after.memory)
        if after.hanging != before.hanging:
            node.hang(after.hanging)
        if after.paused != before.paused:
            node.pause(after.paused)

    def close(self) -> None:
        """Let go of the world, which goes on until its journal is undone."""
        self.network.stop()
        for node in self.nodes.values():
            node.close()

    def _share(self, journal: Journal) -> dict[str, Path]:
        """A directory for each node, with the agent's configuration in it."""
        journal.record("directory", str(self._directory))
        directories = {name: self._directory / "nodes" / name for name in self.plan.scenario.topology.nodes}
        for name, directory in directories.items():
            directory.mkdir(parents=True)
            (directory / places.CONFIG).write_text(self._configuration(name).model_dump_json())
            os.chown(directory, NODE_UID, NODE_UID)
        return directories

    def _configuration(self, name: str) -> NodeConfig:
        scenario = self.plan.scenario
        node, address = scenario.topology.nodes[name], addresses(scenario.topology)
        linked = scenario.topology.linked(name)
        origin = PATTERNS.origin(scenario.pattern.kind)
        return NodeConfig(
            name=name,
            clock=self.clock,
            neighbours={other: address[other] for other in scenario.neighbours(name)},
            peers={
                other: PeerFacts(model=scenario.topology.nodes[other].model, linked=other in linked)
                for other in scenario.neighbours(name)
            },
            packages=packages_of(origin),
            pattern_class=reference_inside(origin),
            pattern=scenario.pattern,
            queue=scenario.queue,
            retry=scenario.retry,
            membership=scenario.membership,
            model=node.model,
            context=node.context,
            threads=threads(self.plan.devices[name].cpus / self.clock.dilation),
            temperature=scenario.sampling.temperature,
            max_tokens=scenario.sampling.max_tokens,
            seed=scenario.seed,
        )

    def _start_metronome(self, journal: Journal) -> "subprocess.Popen[bytes] | None":
        """On the cores that nodes may run on, if the kernel needs one."""
        if not metronome.needed():
            return None
        cores = set().union(*(node.cores for node in self.nodes.values()))
        return companion.start(journal, metronome.__name__, *map(str, sorted(cores)))

    def _connect(self, journal: Journal) -> Network:
        name = f"tb-{journal.run}"
        journal.record("namespace", name)
        containers = {node: container.namespace for node, container in self.nodes.items()}
        directory = self._directory / LINKS
        directory.mkdir()
        home = Namespace.create(name)
        with home.entered():
            self.links = RunningLinks.begin(self.plan.links, journal, directory, self.plan.scenario.seed, self.clock)
        network = Network(self.plan.scenario.topology, home, containers, self.links)
        self.links.publish()
        return network


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what engine and kernel refuse into a sentence."""
    try:
        yield
    except (DockerException, NetlinkError, OSError, RuntimeError) as error:
        raise WorldError(f"{what}: {error}") from error
