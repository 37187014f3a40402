"""The containers of a run: one node each, with the CPU and memory of the device it stands for."""

import os
import select
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import docker
from docker.models.containers import Container
from docker.types import Mount

from testbed.emulation.image import NODE_UID
from testbed.emulation.journal import Journal
from testbed.emulation.namespace import Namespace
from testbed.errors import TestbedError
from testbed.node import config as places
from testbed.spec.topology import Node

LABEL: Final = "testbed.run"
"""The label that carries a run's id on its containers."""

_STARTS_AT_ONCE: Final = 8

CFS_PERIOD: Final = 10_000
"""Microseconds. At Docker's 100,000 a node with 0.3 CPU runs for 30 ms and then stands still for 70."""

_SMALLEST_QUOTA: Final = 1_000  # microseconds; the kernel takes no less (min_cfs_quota_period)


class WorldError(TestbedError):
    """A world cannot be built."""

    exit_code = 3


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int
    out_of_memory: bool

    def __str__(self) -> str:
        return "out of memory" if self.out_of_memory else f"ended with code {self.code}"


class NodeContainer:
    """The running container of the node called ``name``; ``namespace`` is its network's, named as the container is."""

    def __init__(self, name: str, container: Container) -> None:
        """Start ``container``; raises WorldError if it ends at once."""
        self.name = name
        self._container = container
        container.start()
        container.reload()
        self.pid = int(container.attrs["State"]["Pid"])
        try:
            # Held open, it cannot come to mean something else when the container ends: a pid is used again.
            self._process = os.pidfd_open(self.pid)
            self._end = select.poll()
            self._end.register(self._process)
            self.namespace = Namespace.attach(str(container.name), self.pid)
        except (OSError, ValueError):
            raise WorldError(f"node {name!r} did not start: {last_lines(self.logs())}") from None

    def cap_cpu(self, cpus: float) -> None:
        """Let the container use ``cpus`` cores' worth of time from now on.

        This is done once the model is loaded: to boot Python on a tenth of a core takes ten seconds, for nothing.
        """
        period = max(CFS_PERIOD, round(_SMALLEST_QUOTA / cpus))
        self._container.update(cpu_period=period, cpu_quota=round(period * cpus))

    def exit(self) -> Exit | None:
        """How it ended; None while it runs, or runs again, or while the engine does not know."""
        if not self._end.poll(0):
            return None
        self._container.reload()
        state = self._container.attrs["State"]
        if state["Running"]:
            return None
        return Exit(int(state["ExitCode"]), bool(state["OOMKilled"]))

    def logs(self) -> bytes:
        """All that the agent printed."""
        output: bytes = self._container.logs()
        return output

    def close(self) -> None:
        """Let go of the container, which goes on."""
        os.close(self._process)


def last_lines(output: bytes, count: int = 5) -> str:
    """The end of what an agent printed."""
    return "\n".join(output.decode(errors="replace").splitlines()[-count:])


def container_name(run: str, node: str) -> str:
    """What Docker calls the container of a run's node."""
    return f"tb-{run}-{node}"


def start_containers(
    client: docker.DockerClient,
    journal: Journal,
    image: str,
    nodes: Mapping[str, Node],
    models: Mapping[str, Path],
    shared: Mapping[str, Path],
) -> dict[str, NodeContainer]:
    """Start a container for every node, several at a time.

    ``models`` are the nodes' GGUF files, ``shared`` the directories that nodes and host both see.
    """

    def start(name: str) -> NodeContainer:
        container = _create(client, journal, image, name, nodes[name], models[name], shared[name])
        journal.record_created(container_name(journal.run, name))
        return NodeContainer(name, container)

    for name in nodes:
        journal.record("namespace", container_name(journal.run, name))
        journal.record("container", container_name(journal.run, name))
    with ThreadPoolExecutor(_STARTS_AT_ONCE) as pool:
        return dict(zip(nodes, pool.map(start, nodes), strict=True))


def _create(
    client: docker.DockerClient, journal: Journal, image: str, name: str, node: Node, model: Path, shared: Path
) -> Container:
    return client.containers.create(
        image,
        name=container_name(journal.run, name),
        hostname=name,
        labels={LABEL: journal.run},
        network_mode="none",  # the emulated network is all it gets
        userns_mode="host",  # the agent writes, as its user, into a directory of the host
        user=f"{NODE_UID}:{NODE_UID}",
        init=True,
        read_only=True,
        tmpfs={"/tmp": "size=16m"},
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=node.memory,
        memswap_limit=node.memory,  # the two together: no swap
        pids_limit=128,
        mounts=[
            Mount(str(places.SHARED), str(shared), type="bind"),
            Mount(str(places.MODEL), str(model), type="bind", read_only=True),
        ],
    )
