"""What the kernel accounts for a container, from either version of cgroups.

Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, cgroup-v1/cpuacct.rst of Linux.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Usage:
    """CPU time in seconds since the container's start, ``throttled`` the time that its cap kept it waiting; bytes."""

    cpu: float
    throttled: float
    memory: int
    memory_peak: int


class Cgroup:
    """The control group of a container."""

    def __init__(self, pid: int) -> None:
        """Of the container that process ``pid`` is in."""
        self.read: Callable[[], Usage]
        self._most_seen = 0
        paths = dict(_memberships(pid))
        if (_ROOT / "cgroup.controllers").exists():
            self._unified = self._members = _ROOT / paths[""]
            self._cpu_cap = self._unified / "cpu.max", "max"
            self.read = self._read_v2
        else:
            self._cpu, self._cpuacct, self._memory = (
                _ROOT / controller / paths[controller] for controller in ("cpu", "cpuacct", "memory")
            )
            self._members = self._memory
            self._cpu_cap = self._cpu / "cpu.cfs_quota_us", "-1"
            self.read = self._read_v1

    def processes(self) -> list[int]:
        """The ids of all processes in it."""
        return [int(line) for line in (self._members / "cgroup.procs").read_text().splitlines()]

    def uncap_cpu(self) -> None:
        """Let them use all the CPU that there is."""
        file, no_limit = self._cpu_cap
        file.write_text(no_limit)

    @contextmanager
    def uncapped(self) -> Iterator[None]:
        """Let them use all the CPU that there is, for a while."""
        file, _ = self._cpu_cap
        cap = file.read_text()
        self.uncap_cpu()
        try:
            yield
        finally:
            file.write_text(cap)

    def _read_v2(self) -> Usage:
        cpu = _table(self._unified / "cpu.stat")
        return Usage(
            cpu=cpu["usage_usec"] / 1e6,
            throttled=cpu.get("throttled_usec", 0) / 1e6,
            memory=_number(self._unified / "memory.current"),
            memory_peak=self._peak(),
        )

    def _peak(self) -> int:
        """Linux counts it since 5.19; before that, the most that was ever seen here."""
        counted = self._unified / "memory.peak"
        self._most_seen = max(self._most_seen, _number(self._unified / "memory.current"))
        return _number(counted) if counted.exists() else self._most_seen

    def _read_v1(self) -> Usage:
        return Usage(
            cpu=_number(self._cpuacct / "cpuacct.usage") / 1e9,
            throttled=_table(self._cpu / "cpu.stat").get("throttled_time", 0) / 1e9,
            memory=_number(self._memory / "memory.usage_in_bytes"),
            memory_peak=_number(self._memory / "memory.max_usage_in_bytes"),
        )


def _memberships(pid: int) -> list[tuple[str, str]]:
    """A process's path in each hierarchy by controller; the unified one has none (cgroups(7), /proc/PID/cgroup)."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    entries = [line.split(":", 2) for line in lines]
    return [(name, path.lstrip("/")) for _, names, path in entries for name in names.split(",")]


def _number(path: Path) -> int:
    return int(path.read_text())


def _table(path: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in path.read_text().splitlines())}
