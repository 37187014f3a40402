"""Processes that work beside a run until its journal is undone: the relay of its links, its metronome."""

import subprocess
import sys
from collections.abc import Sequence

from testbed.emulation.journal import Journal


def start(
    journal: Journal, module: str, *arguments: str, descriptors: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    """Start ``python -m module arguments…``, which keeps the files ``descriptors`` open."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        pass_fds=descriptors,
        start_new_session=True,
        # A kept run's companions outlive the runner; they must not hold the pipe that the runner writes into.
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    journal.record_process(process.pid)
    return process
