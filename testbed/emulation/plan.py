"""The check before a run: can this host build what the scenario asks for, and out of what?"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import docker
import docker.errors

from testbed.emulation.image import ensure_image
from testbed.emulation.links import kernel, userspace
from testbed.emulation.links.backend import LinkBackend
from testbed.emulation.links.kernel import KernelLinks
from testbed.emulation.links.userspace import UserspaceLinks
from testbed.errors import HostError, SpecError
from testbed.models.source import Model, resolve
from testbed.spec.scenario import Scenario
from testbed.spec.topology import Node

_BACKENDS: Final[dict[str, tuple[type[LinkBackend], Callable[[], str | None]]]] = {
    KernelLinks.name: (KernelLinks, kernel.missing),
    UserspaceLinks.name: (UserspaceLinks, userspace.missing),
}
"""The link backends, the better first, each with what tells why a host cannot have it."""


@dataclass(frozen=True)
class Plan:
    """All that a run is built from."""

    scenario: Scenario
    models: dict[str, Model]
    links: LinkBackend
    image: str
    docker: docker.DockerClient

    @property
    def cpus(self) -> float:
        """What the nodes may use together, in cores."""
        return sum(node.cpus for node in self.scenario.topology.nodes.values())

    @property
    def oversubscribed(self) -> bool:
        """Whether the nodes may use more than the host has."""
        return self.cpus > host_cpus()


def prepare(scenario: Scenario, links: str | None, report: Callable[[str], None]) -> Plan:
    """Resolve models, backend and image; raises TestbedError for what cannot be had, before anything is started.

    ``links`` names a backend; without it the kernel is asked. ``report`` is told of steps that take time.
    """
    models = resolve_models(scenario.topology.nodes)
    backend = choose_backend(links)
    client = connect_docker()
    plan = Plan(scenario, models, backend, ensure_image(client, report), client)
    if plan.oversubscribed and not scenario.oversubscribe:
        raise HostError(
            f"the nodes ask for {plan.cpus:g} CPUs and this host has {host_cpus()}; "
            "lower their `cpus`, or set `oversubscribe: true` and have it noted in the result"
        )
    return plan


def host_cpus() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def connect_docker() -> docker.DockerClient:
    """The Docker engine; raises HostError if it does not answer."""
    try:
        return docker.from_env(timeout=600)
    except docker.errors.DockerException as error:
        raise HostError("the Docker engine does not answer; to mend it: sudo ./tb doctor") from error


def choose_backend(name: str | None) -> LinkBackend:
    """The link backend called ``name``, or else the first that this host can have; raises HostError."""
    if name not in (None, *_BACKENDS):
        raise SpecError.of("--links", f"{name!r} is no link backend; known are {', '.join(_BACKENDS)}")
    reasons = []
    for candidate, (backend, missing) in _BACKENDS.items():
        if name in (None, candidate):
            if (reason := missing()) is None:
                return backend()
            reasons.append(f"{candidate}: {reason}")
    raise HostError(f"no link can be made; {'; '.join(reasons)}")


def resolve_models(nodes: Mapping[str, Node]) -> dict[str, Model]:
    """Every node's model; raises ModelError if one cannot be had, or cannot be held by its node."""
    models = {name: resolve(node.model) for name, node in nodes.items()}
    for name, node in nodes.items():
        models[name].check_fits(name, node.context, node.memory)
    return models
