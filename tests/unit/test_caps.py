"""How the CPU of nodes is capped, and the metronome that makes the kernel keep to it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.core.clock import Clock
from testbed.world.nodes import metronome
from testbed.world.nodes.container import ContainerNode


def caps(cpus: float, dilation: float) -> tuple[int, int]:
    """The period and the quota, in microseconds, that Docker is told for a node."""
    told: dict[str, int] = {}
    node = object.__new__(ContainerNode)
    container: Any = SimpleNamespace(update=told.update)
    node._container, node._clock = container, Clock(dilation)
    node.cap_cpu(cpus)
    return told["cpu_period"], told["cpu_quota"]


@pytest.mark.parametrize(
    ("cpus", "dilation", "period", "quota"),
    [
        (0.3, 1, 10_000, 3_000),
        (2.0, 1, 10_000, 20_000),
        (0.05, 1, 20_000, 1_000),  # the kernel takes no smaller quota
        (0.3, 4, 40_000, 3_000),  # the same stints as at 1, four times further apart
        (0.05, 4, 80_000, 1_000),
        (1.0, 100, 1_000_000, 10_000),
        (50.0, 100, 1_000_000, 500_000),
        (0.101, 100, 1_000_000, 1_010),  # nor a longer period
    ],
)
def test_a_cap_is_kept_in_short_periods_of_the_runs_clock(
    cpus: float, dilation: float, period: int, quota: int
) -> None:
    assert caps(cpus, dilation) == (period, quota)


@pytest.mark.parametrize(("tick", "needed"), [(0.010, True), (0.004, True), (0.001, False)])
def test_a_metronome_is_needed_where_the_kernels_clock_is_slower(
    tick: float, needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.clock_getres", lambda _: tick)
    assert metronome.needed() == needed


@pytest.fixture
def beating() -> Iterator[int]:
    """A metronome on every core of ours: its process id."""
    command = [sys.executable, "-m", metronome.__name__, *map(str, os.sched_getaffinity(0))]
    process = subprocess.Popen(command)
    yield process.pid
    process.kill()
    process.wait()


def _beats(pid: int) -> dict[str, int]:
    """How often the threads of a process have woken up, by the cores that they may run on."""
    status = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return {
        re.findall(r"Cpus_allowed_list:\s+(.*)", one)[0]: int(re.findall(r"\bvoluntary_ctxt_switches:\s+(.*)", one)[0])
        for one in status
    }


def test_it_wakes_up_on_each_core_again_and_again(beating: int) -> None:
    ours = {str(core) for core in os.sched_getaffinity(0)}
    deadline = time.monotonic() + 30
    while min(_beats(beating).get(core, 0) for core in ours) < 100:
        assert time.monotonic() < deadline, "it does not beat"
