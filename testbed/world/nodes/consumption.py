"""What a container uses, over all of its starts."""

from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from testbed.core.clock import Clock
from testbed.world.nodes.cgroups import Cgroup
from testbed.world.nodes.handle import Usage


@dataclass
class Counter:
    """A count of the kernel's that begins anew when a container restarts, as one that goes on."""

    before: float = 0.0
    last: float = 0.0

    def read(self, count: float) -> float:
        """The count over all starts, now that the kernel says ``count``."""
        if count < self.last:
            self.before += self.last
        self.last = count
        return self.before + count


@dataclass
class Consumption:
    """What the container of ``cgroup`` uses. A restart keeps the path of its cgroup."""

    cgroup: Cgroup
    clock: Clock
    _cpu: Counter = field(default_factory=Counter)
    _throttled: Counter = field(default_factory=Counter)

    def read(self) -> Usage:
        """What it has used; raises OSError if its cgroup is gone."""
        counted = self.cgroup.read()
        return Usage(
            rss=_resident(self.cgroup.processes()),
            memory=counted.memory,
            memory_peak=counted.memory_peak,
            cpu=self._cpu.read(counted.cpu),
            throttled=self._throttled.read(self.clock.virtual(counted.throttled)),
        )


def _resident(processes: list[int]) -> int:
    """Bytes of memory that processes have resident, pages that they share counted for each."""
    total = 0
    for pid in processes:
        with suppress(psutil.NoSuchProcess):
            total += psutil.Process(pid).memory_info().rss
    return total
