"""What a run that is over has left: on the host under its name, and in the process that ran it."""

import gc
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from pyroute2 import netns

from testbed.host.machine import connect_docker
from testbed.world.journal import JOURNALS
from testbed.world.world import SHARED


@dataclass(frozen=True)
class Possessions:
    """What this process has open and has started, and the host's own interfaces, at one time."""

    held: Counter[str]

    @classmethod
    def now(cls) -> "Possessions":
        """Those of this moment."""
        gc.collect()  # what only waits for that is not lost
        held = [f"an open {_kind(path)}" for path in _open_files()]
        held += [f"the process {child.name()}" for child in psutil.Process().children(recursive=True)]
        held += [f"the interface {name}" for name in psutil.net_if_addrs()]
        return cls(Counter(held))

    def leaks(self, run: str) -> list[str]:
        """What ``run``, which came after these, has left, as sentences."""
        more = Possessions.now().held - self.held
        return [f"{what} was left behind" for what in (*_on_host(run), *more.elements())]


def _open_files() -> Iterator[str]:
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            yield str(descriptor.readlink())
        except FileNotFoundError:  # that of the directory itself
            continue


def _kind(path: str) -> str:
    """``socket:[4711]`` is as good as any other socket."""
    return re.sub(r":\[\d+\]", "", path)


def _on_host(run: str) -> Iterator[str]:
    """What is on the host in the run's name."""
    client = connect_docker()
    name = f"tb-{run}"
    containers = client.containers.list(all=True, filters={"name": name}, ignore_removed=True)
    client.close()
    yield from (f"the container {container.name}" for container in containers)
    yield from (f"the namespace {found}" for found in netns.listnetns() if found.startswith(name))
    yield from (f"the file {path}" for path in (SHARED / run, JOURNALS / f"{run}.jsonl") if path.exists())
