"""The metronome: ``python -m testbed.world.nodes.metronome CORE…`` makes the kernel enforce CPU caps every millisecond.

The kernel charges a node for CPU time when its clock ticks, or when another task takes over the core. With a tick of
4 ms, a node with a cap of 1 ms in 10 runs for 4 ms and then waits for 40. So a thread on each core wakes up every
millisecond and sleeps again, which makes the kernel charge the node. The cost is two context switches a millisecond and
core; a program in C would need the same two.
"""

import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from threading import Thread
from typing import Final

INTERVAL: Final = 0.001
"""Seconds between two beats: the smallest quota of a CPU cap."""

_CLOCK_MONOTONIC_COARSE: Final = 6  # linux/time.h; its resolution is the kernel's tick


def needed() -> bool:
    """Whether the kernel's tick is longer than a beat."""
    return time.clock_getres(_CLOCK_MONOTONIC_COARSE) > INTERVAL


def main(cores: Iterable[int]) -> None:
    """Beat on these cores for ever, before any other task."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # threads inherit it
    for core in cores:
        Thread(target=_beat, args=(core,)).start()


def _beat(core: int) -> None:
    os.sched_setaffinity(0, [core])  # affects this thread only
    while True:
        time.sleep(INTERVAL)


if __name__ == "__main__":
    main(map(int, sys.argv[1:]))
