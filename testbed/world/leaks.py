"""Leaks of a finished run: what remains on the host under its name, and what the process that ran it still holds."""

import gc
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from pyroute2 import netns

from testbed.host.machine import connect_docker
from testbed.world.journal import JOURNALS
from testbed.world.world import SHARED

_DOCKER_INTERFACE: Final = "veth"
"""How Docker's interfaces for other users' containers are called. They come and go while a run plays."""


@dataclass(frozen=True)
class Possessions:
    """A snapshot of this process's open files and child processes, and of the host's network interfaces."""

    held: Counter[str]

    @classmethod
    def now(cls) -> "Possessions":
        """Take a snapshot."""
        gc.collect()  # objects that only await collection do not count as leaks
        held = [f"an open {_kind(path)}" for path in _open_files()]
        held += [f"the process {child.name()}" for child in psutil.Process().children(recursive=True)]
        held += [f"the interface {name}" for name in psutil.net_if_addrs() if not name.startswith(_DOCKER_INTERFACE)]
        return cls(Counter(held))

    def leaks(self, run: str) -> list[str]:
        """A sentence for everything that ``run``, which began after this snapshot, has left behind."""
        more = Possessions.now().held - self.held
        return [f"{what} was left behind" for what in (*_on_host(run), *more.elements())]


def _open_files() -> Iterator[str]:
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            yield str(descriptor.readlink())
        except FileNotFoundError:  # the descriptor of this iteration, closed by now
            continue


def _kind(path: str) -> str:
    """``socket`` for ``socket:[4711]``: the inode says nothing about a leak."""
    return re.sub(r":\[\d+\]", "", path)


def _on_host(run: str) -> Iterator[str]:
    """Containers, namespaces and files on the host that bear the run's id."""
    client = connect_docker()
    name = f"tb-{run}"
    containers = client.containers.list(all=True, filters={"name": name}, ignore_removed=True)
    client.close()
    yield from (f"the container {container.name}" for container in containers)
    yield from (f"the namespace {found}" for found in netns.listnetns() if found.startswith(name))
    yield from (f"the file {path}" for path in (SHARED / run, JOURNALS / f"{run}.jsonl") if path.exists())
