"""How busy the host was while a run played: an overloaded one makes late links and slow devices."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import psutil

from testbed.analysis.verdict.fidelity import Flaw

_WINDOW: Final = 1.0  # seconds; the kernel counts in hundredths, so that this is known to about a part in a hundred

# Nodes are capped below what the host has. A run of the first scenario leaves nine tenths of two cores idle; beside a
# busy loop, four tenths; beside one on each core, nothing in any second. Seconds without idle time occur on every host
# that somebody works on: up to a tenth of play were seen beside a busy loop on one core.
_SATURATED: Final = 0.05  # share of idle time below which a second left nothing to spare
_MOST_SATURATED: Final = 0.25  # share of such seconds
_MOST_STOLEN: Final = 0.05  # share of time that a hypervisor may keep for others


@dataclass(frozen=True)
class HostLoad:
    """Shares of the time of all cores, or of play.

    ``idle`` is the mean, ``idle_least`` that of the worst second, ``saturated`` the share of seconds with next to no
    idle time. ``stolen`` went to other virtual machines. ``pressure`` is the share of play in which some task waited
    for a core (PSI; Documentation/accounting/psi.rst of Linux), None where the kernel does not count it. It is not
    judged: a node that waits behind its own cap counts as well, so that a busy run on an idle host has 29 %, and a
    light one beside a busy loop on every core 7 %.
    """

    idle: float
    idle_least: float
    saturated: float
    stolen: float
    pressure: float | None

    def flaws(self) -> Iterator[Flaw]:
        """What was not as a run needs it."""
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
    """What the kernel has counted until ``t``, all in seconds; of all cores together but for ``pressure``."""

    t: float
    idle: float
    stolen: float
    pressure: float | None

    @classmethod
    def now(cls) -> "HostCounters":
        """As of now."""
        times = psutil.cpu_times()
        return cls(time.monotonic(), times.idle + times.iowait, times.steal, _pressure())


def _pressure() -> float | None:
    """Seconds in which some task waited for a core; a kernel without PSI has no file, or one that cannot be read."""
    try:
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return None
    return int(some.rpartition("total=")[2]) / 1e6


class HostWatch:
    """Looks at the host's counters while a run plays."""

    def __init__(self) -> None:
        self._seen: list[HostCounters] = []

    def look(self) -> None:
        """Note what the counters say. To be called at the beginning and the end of play, and in between."""
        if len(self._seen) > 1 and self._seen[-1].t - self._seen[-2].t < _WINDOW:
            self._seen.pop()  # this look takes the place of one that came too soon after the window's beginning
        self._seen.append(HostCounters.now())

    def load(self) -> HostLoad | None:
        """What they come to; None if nothing played."""
        return host_load(self._seen, os.cpu_count() or 1) if len(self._seen) > 1 else None


def host_load(seen: list[HostCounters], cores: int) -> HostLoad:
    """From counters that were read on a host with so many ``cores`` about once a second, at least twice."""
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
    """The counters of different cores are not read at the very same time, which can make a share a little too large."""
    return min(1.0, max(0.0, part / whole)) if whole else 0.0
