"""How the containers of a run are made."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from docker.models.containers import Container
from docker.types import LogConfig, Mount

from testbed.host.image import NODE_UID
from testbed.node import config as places
from testbed.node.config import NodeConfig
from testbed.world.nodes.capped_container import ENGINE_ERRORS, engine_reason
from testbed.world.nodes.container import ContainerNode
from testbed.world.nodes.handle import PlannedNode, Site, WorldError

LABEL: Final = "testbed.run"
"""The label that carries a run's id on its containers."""

STARTS_AT_ONCE: Final = 8
"""Containers that the engine is asked to start at a time."""


def start_containers(site: Site, nodes: Mapping[str, PlannedNode]) -> dict[str, ContainerNode]:
    """Start a container for every node, several at a time; raises WorldError."""

    def start(name: str) -> ContainerNode:
        planned = nodes[name]
        assert planned.config is not None and planned.device is not None  # a container is emulated and runs an agent
        shared = _share(site, planned.config)
        container = _create(site, planned.config, planned.device.memory, planned.files, shared)
        site.journal.record_created(container_name(site.journal.run, name))
        return ContainerNode(name, container, shared, planned.device.cpus, site.clock)

    for kind in ("namespace", "container"):  # those of a kind are undone together
        for name in nodes:
            site.journal.record(kind, container_name(site.journal.run, name))
    with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
        return dict(zip(nodes, pool.map(start, nodes), strict=True))


def container_name(run: str, node: str) -> str:
    """What Docker calls the container of a run's node."""
    return f"tb-{run}-{node}"


def holder_name(run: str, node: str) -> str:
    """What Docker calls the container that holds the network of a node's program. No node is called so."""
    return f"{container_name(run, node)}.net"


def is_holder(container: str) -> bool:
    """Whether a container only holds a network."""
    return container.endswith(".net")


_LOG: Final = LogConfig(type=LogConfig.types.JSON, config={"max-size": "16m", "max-file": "2"})
"""What a container may print: the engine keeps the last 16 to 32 MB, so that no node fills the host's disk."""

NO_NETWORK: Final[Mapping[str, Any]] = {"network_mode": "none", "network_disabled": True}
"""Options of a container whose only network is the emulated one.

With the second, the engine makes no sandbox for a network that is not there: containers start in half the time, and a
deadlock of Docker 20.10 between containers that end at the same time cannot occur.
"""


def create_container(
    site: Site, node: str, image: str, memory: int, mounts: Sequence[Mount] = (), **options: Any
) -> Container:
    """A container of the run, capped at ``memory`` bytes, in which code is kept from everything but its own.

    It knows all nodes by name. Raises WorldError.
    """
    try:
        return site.docker.containers.create(
            image,
            labels={LABEL: site.journal.run},
            userns_mode="host",  # it writes, as its user, into a directory of the host
            user=f"{NODE_UID}:{NODE_UID}",
            init=True,
            read_only=True,
            tmpfs={"/tmp": "size=16m"},
            log_config=_LOG,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=memory,
            memswap_limit=memory,  # the two together: no swap
            mounts=[*mounts, Mount("/etc/hosts", str(site.hosts), type="bind", read_only=True)],
            **options,
        )
    except ENGINE_ERRORS as error:
        raise WorldError(f"node {node!r} did not start: {engine_reason(error)}") from error


def _share(site: Site, config: NodeConfig) -> Path:
    """The directory that host and container both see, with the agent's configuration in it."""
    directory = site.directory / "nodes" / config.name
    directory.mkdir(parents=True)
    file = directory / places.CONFIG
    file.touch(mode=0o400)  # it has the node's keys
    file.write_text(config.model_dump_json())
    for path in (file, directory):
        os.chown(path, NODE_UID, NODE_UID)
    return directory


def _create(site: Site, config: NodeConfig, memory: int, files: Mapping[Path, Path], shared: Path) -> Container:
    name, mounts = config.name, [Mount(str(places.SHARED), str(shared), type="bind")]
    mounts += [Mount(str(inside), str(path), type="bind", read_only=True) for inside, path in files.items()]
    return create_container(
        site,
        name,
        site.image,
        memory,
        mounts,
        name=container_name(site.journal.run, name),
        hostname=name,
        pids_limit=128,
        **NO_NETWORK,
    )
