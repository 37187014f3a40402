"""The metronome's process: ``python -m testbed.world.nodes.metronome CORE…``. With it nodes get their share evenly.

The kernel takes note of what a node has used when its clock ticks, or when another task takes over the core. Where the
clock ticks every 4 ms, a node that may have one of every ten runs for four, and then stands still for forty. So on each
core a thread wakes up every millisecond and goes to sleep again: that makes the kernel look. What it costs is the two
changes of tasks; in C it would be no less.
"""

import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from threading import Thread
from typing import Final

INTERVAL: Final = 0.001
"""Seconds from beat to beat: the least that a node may have in a period of its cap."""

_CLOCK_MONOTONIC_COARSE: Final = 6  # linux/time.h; it is as fine as the kernel's clock ticks


def needed() -> bool:
    """Whether the kernel's own clock ticks more slowly."""
    return time.clock_getres(_CLOCK_MONOTONIC_COARSE) > INTERVAL


def main(cores: Iterable[int]) -> None:
    """Beat on these cores for ever, whatever runs there."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # which the threads inherit
    for core in cores:
        Thread(target=_beat, args=(core,)).start()


def _beat(core: int) -> None:
    os.sched_setaffinity(0, [core])  # of this thread alone
    while True:
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main(map(int, sys.argv[1:]))
