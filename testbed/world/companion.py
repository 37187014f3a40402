"""Processes that serve a run until its journal is undone: the relay of its links, its metronome.

``python -m testbed.world.companion MODULE ARGUMENT…`` runs a module as such a process. The process waits for a line on
its standard input, which the runner writes once the journal has recorded the process. If the runner dies earlier, the
input ends and the process exits.
"""

import runpy
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a companion starts faster and needs less memory without it
    from testbed.world.journal import Journal


def start(
    journal: "Journal", module: str, *arguments: str, descriptors: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    """Start ``python -m module arguments…``, which inherits the open files ``descriptors``."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, module, *arguments],
        pass_fds=descriptors,
        start_new_session=True,
        stdin=subprocess.PIPE,
        # A kept run's companions outlive the runner; they must not hold the pipe that the runner's output goes to.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    journal.record_process(process.pid)
    assert process.stdin is not None
    with process.stdin:
        process.stdin.write(b"\n")
    return process


if __name__ == "__main__" and sys.stdin.read(1):
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
