"""The containers of a run: one node each, with the CPU and memory of the device it stands for."""

import os
import select
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import docker
from docker.errors import APIError, DockerException
from docker.models.containers import Container
from docker.types import Mount

from testbed.core.errors import TestbedError
from testbed.host.cfs import cap_period
from testbed.host.image import NODE_UID
from testbed.host.namespace import Namespace
from testbed.node import config as places
from testbed.schema.network.topology import Node
from testbed.world.journal import Journal
from testbed.world.nodes.cgroups import Cgroup

LABEL: Final = "testbed.run"
"""The label that carries a run's id on its containers."""

_STARTS_AT_ONCE: Final = 8

_DEATH: Final = 200  # milliseconds that processes have for dying by themselves once they are killed

_USE_MEMORY: Final = "dd if=/dev/zero of=/dev/shm/used bs=1M count=32"
"""A tmpfs is charged to the container that writes to it, and cannot be reclaimed."""

_GROWTH: Final = 4 * 2**20  # bytes that a container may take up while the engine sets its cap


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
    """The container of the node called ``name``; ``namespace`` is its network's, named as the container is.

    ``cores`` are those of the host, by their numbers, that it may run on.
    """

    def __init__(self, name: str, container: Container) -> None:
        """Start ``container``; raises WorldError if it ends at once."""
        self.name = name
        self._container = container
        self._exit: Exit | None = None
        self.exits: list[Exit] = []
        """How it has ended so far, whether or not it was started again."""
        self._looking = threading.Lock()
        self._start()
        self.namespace = Namespace.attach(str(container.name), self.pid)

    def _start(self) -> None:
        try:
            self._container.start()
            self._container.reload()
            self.pid = int(self._container.attrs["State"]["Pid"])
            # Held open, it cannot come to mean something else when the container ends: a pid is used again.
            self._process = os.pidfd_open(self.pid)
            self.cores = os.sched_getaffinity(self.pid)
        except (DockerException, OSError, ValueError):
            raise WorldError(f"node {self.name!r} did not start: {last_lines(self.logs())}") from None

    def start_again(self) -> None:
        """Start the container, which has ended, once more; the namespace that it is in then is a new and empty one."""
        self.wait()
        ended = self._process
        self._start()
        os.close(ended)
        self._exit = None

    def cap_cpu(self, cpus: float, period: float) -> None:
        """Let the container use ``cpus`` of the host's cores' worth of time in every ``period`` seconds from now on.

        This is done once the model is loaded: to boot Python on a tenth of a core takes ten seconds, for nothing.
        """
        microseconds = round(1e6 * cap_period(cpus, period))
        with self._running():
            self._container.update(cpu_period=microseconds, cpu_quota=round(microseconds * cpus))

    def cap_memory(self, cap: int) -> None:
        """Let the container use ``cap`` bytes of memory from now on; a process is killed if that is not enough.

        Cgroups of version 1 take no cap below what is in use (memory.limit_in_bytes). There the cap becomes a little
        above what is in use, and then more is used: so the kernel finds itself out of memory, as it does on version 2.
        """
        with self._running():
            try:
                self._update_memory(cap)
            except APIError:
                self._update_memory(max(cap, Cgroup(self.pid).read().memory + _GROWTH))
                self._container.exec_run(_USE_MEMORY, detach=True)

    def _update_memory(self, cap: int) -> None:
        self._container.update(mem_limit=cap, memswap_limit=cap)  # the two together: no swap

    def pause(self, paused: bool) -> None:
        """Freeze all processes, or let them go on."""
        with self._running():
            if not paused:
                self._container.unpause()
                return
            with Cgroup(self.pid).uncapped():  # whoever waits behind the cap cannot be frozen, and the engine gives up
                self._container.pause()

    def hang(self, hanging: bool) -> None:
        """Stop the agent with its sockets open, or let it go on. Its parent, the container's init, goes on."""
        with self._running():
            for pid in set(Cgroup(self.pid).processes()) - {self.pid}:
                os.kill(pid, signal.SIGSTOP if hanging else signal.SIGCONT)

    def kill(self) -> None:
        """End all processes at once, unless they have ended; returns when they have."""
        with self._running():
            Cgroup(self.pid).uncap_cpu()  # behind its cap a process takes a tenth of a second to give back its memory
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
            if not self._ends_within(_DEATH):  # frozen ones die when they are thawed, which the engine does
                self._container.kill()

    @contextmanager
    def _running(self) -> Iterator[None]:
        """What is done to the container within fails, and is of no use, if that has ended."""
        try:
            yield
        except (DockerException, OSError) as error:
            if not self.ended:
                raise WorldError(f"node {self.name!r} cannot be changed: {error}") from error

    @property
    def ended(self) -> bool:
        """Whether it has ended; the engine may learn of it a moment later."""
        return self._exit is not None or self._ends_within(0)

    def _ends_within(self, milliseconds: int) -> bool:
        end = select.poll()  # one for each caller: several threads may not wait on the same
        end.register(self._process)
        return bool(end.poll(milliseconds))

    def exit(self) -> Exit | None:
        """How it ended; None while it runs, or while the engine does not know."""
        with self._looking:
            if self._exit is None and self.ended:
                self._container.reload()
                state = self._container.attrs["State"]
                if not state["Running"]:
                    self._exit = Exit(int(state["ExitCode"]), bool(state["OOMKilled"]))
                    self.exits.append(self._exit)
            return self._exit

    def wait(self) -> Exit | None:
        """Wait for it to end, and tell how."""
        self._container.wait()
        return self.exit()

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
    files: Mapping[str, Mapping[Path, Path]],
    shared: Mapping[str, Path],
) -> dict[str, NodeContainer]:
    """Start a container for every node, several at a time.

    ``files`` are those that a node may read, by where they lie inside it; ``shared`` are the directories that nodes and
    host both see.
    """

    def start(name: str) -> NodeContainer:
        container = _create(client, journal, image, name, nodes[name], files[name], shared[name])
        journal.record_created(container_name(journal.run, name))
        return NodeContainer(name, container)

    for kind in ("namespace", "container"):  # those of a kind are undone together
        for name in nodes:
            journal.record(kind, container_name(journal.run, name))
    with ThreadPoolExecutor(_STARTS_AT_ONCE) as pool:
        return dict(zip(nodes, pool.map(start, nodes), strict=True))


def _create(
    client: docker.DockerClient,
    journal: Journal,
    image: str,
    name: str,
    node: Node,
    files: Mapping[Path, Path],
    shared: Path,
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
            *(Mount(str(inside), str(path), type="bind", read_only=True) for inside, path in files.items()),
        ],
    )
