"""The plan of a run: whether this host can build what the scenario asks for, and from which parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import docker

from testbed.core.clock import Clock
from testbed.core.errors import HostError, SpecError
from testbed.core.registry import is_built_in
from testbed.host.capacity import check_memory, oversubscribed, settle_dilation
from testbed.host.devices import Device, devices
from testbed.host.image import ensure_image
from testbed.host.machine import connect_docker
from testbed.host.speed import core_speed
from testbed.models.holdings import Holding, given_files, provide, resolve_all
from testbed.models.resolution import Fetching, Model, untold
from testbed.patterns.base import PATTERNS
from testbed.schema.fault import Fault
from testbed.schema.network.node import NodeKind
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import dotted
from testbed.schema.scenario import Scenario
from testbed.schema.timeline.entries import timeline_mistakes
from testbed.world.network.links.backend import LINK_BACKENDS, LinkBackend, backends
from testbed.world.network.patience import Patience, patience


@dataclass(frozen=True)
class EngineFacts:
    """What the Docker engine says of itself, the node image and the programs of nodes, asked before anything starts."""

    version: str
    image: str | None
    programs: dict[str, Mapping[str, Any]]

    @classmethod
    def of(cls, client: docker.DockerClient, image: str, topology: Topology) -> "EngineFacts":
        """Ask the engine."""
        kinds = {name: node for name, node in topology.nodes.items() if isinstance(node, NodeKind)}
        programs = {name: facts for name, node in kinds.items() if (facts := node.facts(client))}
        return cls(client.version()["Version"], client.images.get(image).id, programs)


@dataclass(frozen=True)
class Plan:
    """Everything that a run is built from.

    Devices, models and holdings are by node; ``given`` has the models that a node without an agent can read, by their
    paths inside. The dilation of ``scenario`` is a number, that of ``clock``.
    """

    scenario: Scenario
    clock: Clock
    devices: dict[str, Device]
    models: dict[str, Model]
    holdings: dict[str, Holding]
    given: dict[str, dict[Path, Model]]
    links: LinkBackend
    image: str
    docker: docker.DockerClient
    engine: EngineFacts

    @cached_property
    def patience(self) -> Patience:
        """The seconds that each node has for reaching each other one."""
        return patience(self.scenario.topology)

    @property
    def oversubscribed(self) -> bool:
        """Whether the nodes' CPU caps together exceed the host's cores."""
        return oversubscribed(self.devices, self.clock.dilation)

    @property
    def synthetic(self) -> tuple[str, ...]:
        """The nodes whose models have random weights. If there are any, every answer may depend on one."""
        own = [node for node, model in self.models.items() if model.synthetic]
        return (
            *own,
            *(node for node, models in self.given.items() if any(model.synthetic for model in models.values())),
        )


def prepare(scenario: Scenario, links: str | None, report: Callable[[str], None], fetching: Fetching = untold) -> Plan:
    """Resolve models, link backend and image; raises TestbedError before anything is started.

    ``links`` names a backend; without it, the first that this host supports is taken. ``report`` is called with the
    name of every step that takes time, and ``fetching`` with the progress of models that are not on this host.
    """
    client = connect_docker()
    for name, node in scenario.topology.nodes.items():
        if isinstance(node, NodeKind):
            node.check_host(name, client)
        if node.power_sensor is not None:
            node.power_sensor.open()
    models, given = resolve_all(scenario, fetching), given_files(scenario, fetching)
    if any(node.cpus is None for node in scenario.topology.emulated.values()):
        report("measuring how fast this host runs the models")
    equipped = devices(scenario.topology, models, core_speed)
    _check_faults(scenario, equipped)
    check_memory(equipped)
    dilation = settle_dilation(scenario, equipped)
    holdings = provide(scenario, models, {name: device.cpus for name, device in equipped.items()}, report)
    backend = choose_backend(links, scenario.topology, _faults(scenario))
    settled = scenario.model_copy(update={"dilation": dilation})
    origins = list(dict.fromkeys(PATTERNS.origin(pattern.kind) for pattern in scenario.all_patterns))
    image = ensure_image(client, report, kinds=[origin for origin in origins if not is_built_in(origin)])
    engine = EngineFacts.of(client, image, scenario.topology)
    return Plan(settled, Clock(dilation), equipped, models, holdings, given, backend, image, client, engine)


def choose_backend(name: str | None, topology: Topology, faults: Sequence[Fault] = ()) -> LinkBackend:
    """The link backend called ``name``, or else the first that suits the host, the topology and the faults.

    Raises SpecError if no backend has that name, or if it cannot make what is asked of a link; HostError if the host
    lacks what the backend needs.
    """
    if name is not None and name not in LINK_BACKENDS:
        raise SpecError.of("--links", f"{name!r} is no link backend; known are {', '.join(LINK_BACKENDS.names())}")
    candidates = backends() if name is None else [LINK_BACKENDS.get(name)]
    beyond = {backend.name: reason for backend in candidates if (reason := _beyond(backend, topology, faults))}
    if name in beyond:
        raise SpecError.of("--links", beyond[name])
    missing = {backend.name: reason for backend in candidates if (reason := backend.missing())}
    for backend in candidates:
        if backend.name not in {*beyond, *missing}:
            return backend
    reasons = "; ".join(f"{name}: {reason}" for name, reason in {**missing, **beyond}.items())
    raise HostError(f"no link can be made; {reasons}")


def _beyond(backend: LinkBackend, topology: Topology, faults: Sequence[Fault]) -> str | None:
    """Why the backend cannot make some link as the topology or a fault asks for it; None if it can make all."""
    for link in topology.resolved_links:
        for asked in (link, *(fault.changed(link) for fault in faults)):
            for _, reason in backend.refusals(link, asked):
                return f"link {link.name}: the {backend.name} backend {reason}"
    return None


def _faults(scenario: Scenario) -> list[Fault]:
    return [entry.fault for entry in scenario.timeline if entry.fault]


def _check_faults(scenario: Scenario, equipped: Mapping[str, Device]) -> None:
    """Check the timeline against the nodes' CPUs, which their devices settle; raises SpecError."""
    topology = scenario.topology
    settled = {name: topology.nodes[name].model_copy(update={"cpus": device.cpus}) for name, device in equipped.items()}
    copy = topology.model_copy(update={"nodes": {**topology.nodes, **settled}})
    extent = replace(scenario.extent, topology=copy)
    for loc, message in timeline_mistakes(scenario.timeline, extent):
        raise SpecError.of(dotted(("timeline", *loc)), message)
