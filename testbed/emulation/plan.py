"""The check before a run: can this host build what the scenario asks for, and out of what?"""

from collections.abc import Callable
from dataclasses import dataclass

import docker

from testbed.emulation.host import connect_docker, host_cpus, host_memory
from testbed.emulation.image import ensure_image
from testbed.emulation.links.backend import LinkBackend
from testbed.emulation.links.running import BACKENDS
from testbed.errors import HostError, SpecError
from testbed.models.source import Model, resolve_models
from testbed.spec.scenario import Scenario
from testbed.spec.topology import Topology
from testbed.units import SIZE


@dataclass(frozen=True)
class Plan:
    """All that a run is built from."""

    scenario: Scenario
    models: dict[str, Model]
    links: LinkBackend
    image: str
    docker: docker.DockerClient

    @property
    def oversubscribed(self) -> bool:
        """Whether the nodes may use more CPU than the host has."""
        return _cpus(self.scenario) > host_cpus()


def prepare(scenario: Scenario, links: str | None, report: Callable[[str], None]) -> Plan:
    """Resolve models, backend and image; raises TestbedError for what cannot be had, before anything is started.

    ``links`` names a backend; without it the host is asked. ``report`` is told of steps that take time.
    """
    models = resolve_models(scenario.topology.nodes)
    _check_host(scenario)
    backend = choose_backend(links, scenario.topology)
    client = connect_docker()
    return Plan(scenario, models, backend, ensure_image(client, report), client)


def choose_backend(name: str | None, topology: Topology) -> LinkBackend:
    """The link backend called ``name``, or else the first that this host can have and that can do all links.

    Raises SpecError if there is no such backend or it cannot do what a link asks for, HostError if the host lacks it.
    """
    candidates = [backend for backend in BACKENDS if name in (None, backend.name)]
    if not candidates:
        known = ", ".join(backend.name for backend in BACKENDS)
        raise SpecError.of("--links", f"{name!r} is no link backend; known are {known}")
    beyond = {backend.name: reason for backend in candidates if (reason := _beyond(backend, topology))}
    if name in beyond:
        raise SpecError.of("--links", beyond[name])
    missing = {backend.name: reason for backend in candidates if (reason := backend.missing())}
    for backend in candidates:
        if backend.name not in {*beyond, *missing}:
            return backend
    reasons = "; ".join(f"{name}: {reason}" for name, reason in {**missing, **beyond}.items())
    raise HostError(f"no link can be made; {reasons}")


def _beyond(backend: LinkBackend, topology: Topology) -> str | None:
    """The first thing asked of a link that the backend cannot do."""
    for link in topology.resolved_links:
        for direction in (link.up, link.down):
            if reason := backend.cannot(direction):
                return f"link {link.name}: the {backend.name} backend {reason}"
    return None


def _check_host(scenario: Scenario) -> None:
    cpus, memory = _cpus(scenario), sum(node.memory for node in scenario.topology.nodes.values())
    if cpus > host_cpus() and not scenario.oversubscribe:
        raise HostError(
            f"the nodes ask for {cpus:g} CPUs and this host has {host_cpus()}; "
            "lower their `cpus`, or set `oversubscribe: true` and have it noted in the result"
        )
    if memory > host_memory():
        raise HostError(
            f"the nodes ask for {SIZE.readable(memory)} of memory and this host has {SIZE.readable(host_memory())}; "
            "lower their `memory`"
        )


def _cpus(scenario: Scenario) -> float:
    return sum(node.cpus for node in scenario.topology.nodes.values())
