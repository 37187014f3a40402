"""The kernel's accounts of a container, from either version of cgroups.

Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, cgroup-v1/cpuacct.rst of Linux.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Account:
    """What the kernel has counted since a container's start.

    ``cpu`` is CPU time in seconds, ``throttled`` the seconds that the CPU cap kept it waiting; memory is in bytes.
    """

    cpu: float
    throttled: float
    memory: int
    memory_peak: int


class Cgroup:
    """The control group of a container."""

    def __init__(self, pid: int) -> None:
        """The control group of the container that process ``pid`` is in."""
        self.read: Callable[[], Account]
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
        """The ids of all processes in the container."""
        return [int(line) for line in (self._members / "cgroup.procs").read_text().splitlines()]

    def uncap_cpu(self) -> None:
        """Remove the CPU cap."""
        file, no_limit = self._cpu_cap
        file.write_text(no_limit)

    @contextmanager
    def uncapped(self) -> Iterator[None]:
        """Remove the CPU cap for as long as the context lasts."""
        file, _ = self._cpu_cap
        cap = file.read_text()
        self.uncap_cpu()
        try:
            yield
        finally:
            file.write_text(cap)

    def _read_v2(self) -> Account:
        cpu = _table(self._unified / "cpu.stat")
        return Account(
            cpu=cpu["usage_usec"] / 1e6,
            throttled=cpu.get("throttled_usec", 0) / 1e6,
            memory=_number(self._unified / "memory.current"),
            memory_peak=self._peak(),
        )

    def _peak(self) -> int:
        """The kernel's peak, which it keeps since Linux 5.19; before that, the largest value that was read here."""
        counted = self._unified / "memory.peak"
        self._most_seen = max(self._most_seen, _number(self._unified / "memory.current"))
        return _number(counted) if counted.exists() else self._most_seen

    def _read_v1(self) -> Account:
        return Account(
            cpu=_number(self._cpuacct / "cpuacct.usage") / 1e9,
            throttled=_table(self._cpu / "cpu.stat").get("throttled_time", 0) / 1e9,
            memory=_number(self._memory / "memory.usage_in_bytes"),
            memory_peak=_number(self._memory / "memory.max_usage_in_bytes"),
        )


def _memberships(pid: int) -> list[tuple[str, str]]:
    """The path of a process in each hierarchy, by controller, ``""`` for the unified one (cgroups(7))."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    entries = [line.split(":", 2) for line in lines]
    return [(name, path.lstrip("/")) for _, names, path in entries for name in names.split(",")]


def _number(path: Path) -> int:
    return int(path.read_text())


def _table(path: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in path.read_text().splitlines())}
