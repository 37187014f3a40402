"""How endpoints are started: a companion for each, and then the container of its agent."""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from testbed.core.errors import HostError
from testbed.host.devices import Device
from testbed.host.image import NODE_UID
from testbed.node import config as places
from testbed.node.config import EndpointOptions
from testbed.world import companion
from testbed.world.nodes.capped_container import GLANCE
from testbed.world.nodes.container import ContainerNode
from testbed.world.nodes.containers import start_containers
from testbed.world.nodes.endpoint import gateway
from testbed.world.nodes.endpoint.address import BaseUrl
from testbed.world.nodes.endpoint.gateway import GatewayConfig
from testbed.world.nodes.endpoint.spec import Budget, EndpointNode
from testbed.world.nodes.handle import PlannedNode, Site, WorldError

_AGENT: Final = Device(cpus=1.0, memory=192 * 2**20)
"""What the agent gets. It stands for no device: the server has the model, and all that the agent does is waiting."""

_PATIENCE: Final = 30.0  # seconds that companions have for opening their sockets


def start_endpoints(site: Site, nodes: Mapping[str, PlannedNode]) -> dict[str, ContainerNode]:
    """Start a companion and an agent for every node; raises WorldError, or HostError."""
    directory = site.directory / "endpoints"
    directory.mkdir(mode=0o700, parents=True)
    configs = {name: _forwarding(planned, directory) for name, planned in nodes.items()}
    started = {
        name: companion.start(site.journal, gateway.__name__, config.model_dump_json())
        for name, config in configs.items()
    }
    for name, process in started.items():
        _await(name, process, configs[name].socket)
    return start_containers(site, {name: _agent(nodes[name], config.socket) for name, config in configs.items()})


def _forwarding(planned: PlannedNode, directory: Path) -> GatewayConfig:
    """What the companion of a node is told; raises HostError."""
    spec = planned.spec
    assert isinstance(spec, EndpointNode)
    budget = spec.budget or Budget.model_construct()
    return GatewayConfig(
        socket=directory / f"{planned.name}.sock",
        owner=NODE_UID,
        url=spec.endpoint,
        addresses=_addresses(planned.name, spec),
        model=spec.model,
        key=spec.variable,
        patience=spec.patience,
        requests=budget.requests,
        money=budget.money,
        price=spec.price,
    )


def _addresses(name: str, spec: EndpointNode) -> tuple[str, ...]:
    url = BaseUrl.parse(spec.endpoint)
    try:
        return url.resolve(secret=spec.key is not None)
    except ValueError as error:
        raise HostError(f"node {name!r}: {error}") from error
    except OSError as error:
        raise HostError(f"node {name!r}: the name {url.host} has no address ({error.strerror})") from error


def _await(name: str, process: "subprocess.Popen[bytes]", socket: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise WorldError(f"the companion of node {name!r} did not start")
        time.sleep(GLANCE)


def _agent(planned: PlannedNode, socket: Path) -> PlannedNode:
    spec, config = planned.spec, planned.config
    assert isinstance(spec, EndpointNode) and config is not None
    options = EndpointOptions(patience=spec.patience, logprobs=spec.logprobs)
    return replace(
        planned,
        device=_AGENT,
        config=config.model_copy(update={"endpoint": options}),
        files={places.ENDPOINT: socket},
    )
