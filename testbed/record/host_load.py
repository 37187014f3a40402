"""The load of the host during play. On an overloaded host, links are late and devices slow."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import psutil

from testbed.analysis.verdict.fidelity import Flaw

_WINDOW: Final = 1.0  # seconds; the kernel counts in hundredths of a second, so shares are known to about 1 %

# A run of scenarios/gossip_moa.yaml leaves 90 % of two cores idle; beside a busy loop, 40 %; beside a busy loop on each
# core, nothing in any second. Seconds without idle time occur on every host that somebody works on: up to 10 % of play
# were seen beside a busy loop on one core.
_SATURATED: Final = 0.05  # share of idle time below which a second is saturated
_MOST_SATURATED: Final = 0.25  # share of saturated seconds
_MOST_STOLEN: Final = 0.05  # share of time that a hypervisor may give to other machines


@dataclass(frozen=True)
class HostLoad:
    """Shares of the time of all cores, or of play.

    ``idle`` is the mean share of idle time, ``idle_least`` that of the worst second, ``saturated`` the share of seconds
    with less than 5 % idle time. ``stolen`` is the share that went to other virtual machines. ``pressure`` is the share
    of play in which some task waited for a core (PSI; Documentation/accounting/psi.rst of Linux), None if the kernel
    does not count it. It is not judged, because nodes that wait behind their own CPU quota count: a busy run on an idle
    host has 29 %, a light one beside a busy loop on every core 7 %.
    """

    idle: float
    idle_least: float
    saturated: float
    stolen: float
    pressure: float | None

    def flaws(self) -> Iterator[Flaw]:
        """The flaws of an overloaded host."""
        if self.saturated > _MOST_SATURATED:
            yield Flaw(
                "distorted",
                f"the host had less than {_SATURATED:.0%} of its CPU idle in {self.saturated:.0%} of play "
                f"({self.idle:.0%} idle over all)",
            )
        if self.stolen > _MOST_STOLEN:
            yield Flaw("distorted", f"the host's own hypervisor took {self.stolen:.0%} of its CPU during play")


@dataclass(frozen=True)
class HostCounters:
    """The kernel's counters at ``t``, in seconds. All but ``pressure`` are summed over all cores."""

    t: float
    idle: float
    stolen: float
    pressure: float | None

    @classmethod
    def now(cls) -> "HostCounters":
        """Read the counters."""
        times = psutil.cpu_times()
        return cls(time.monotonic(), times.idle + times.iowait, times.steal, _pressure())


def _pressure() -> float | None:
    """Seconds in which some task waited for a core; None on a kernel without PSI."""
    try:
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return None
    return int(some.rpartition("total=")[2]) / 1e6


class HostWatch:
    """Reads the host's counters during play."""

    def __init__(self) -> None:
        self._seen: list[HostCounters] = []

    def look(self) -> None:
        """Read the counters. To be called at the beginning and the end of play, and in between."""
        if len(self._seen) > 1 and self._seen[-1].t - self._seen[-2].t < _WINDOW:
            self._seen.pop()  # the previous look came too soon after the beginning of its window
        self._seen.append(HostCounters.now())

    def load(self) -> HostLoad | None:
        """The load over all looks; None if there was no play."""
        return host_load(self._seen, os.cpu_count() or 1) if len(self._seen) > 1 else None


def host_load(seen: list[HostCounters], cores: int) -> HostLoad:
    """The load from counters that were read about once a second, at least twice, on a host with ``cores`` cores."""
    first, last = seen[0], seen[-1]
    windows = [(then.t - now.t, _share(then.idle - now.idle, (then.t - now.t) * cores)) for now, then in pairwise(seen)]
    seconds = last.t - first.t
    known = first.pressure is not None and last.pressure is not None
    idle = _share(last.idle - first.idle, seconds * cores)
    return HostLoad(
        idle=idle,
        idle_least=min((idle for length, idle in windows if length >= _WINDOW), default=idle),
        saturated=_share(sum(length for length, idle in windows if idle < _SATURATED), seconds),
        stolen=_share(last.stolen - first.stolen, seconds * cores),
        pressure=_share((last.pressure or 0.0) - (first.pressure or 0.0), seconds) if known else None,
    )


def _share(part: float, whole: float) -> float:
    """``part`` of ``whole``, from 0 to 1: the counters of cores are read one after the other, so it can exceed 1."""
    return min(1.0, max(0.0, part / whole)) if whole else 0.0
