"""Processes that work beside a run until its journal is undone: the relay of its links, its metronome.

``python -m testbed.world.companion MODULE ARGUMENT…`` is such a process. It begins once somebody says so on its
standard input: by then the journal knows it. If the runner dies before that, the input ends, and the process with it.
"""

import runpy
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a companion is to be there soon, and to need little
    from testbed.world.journal import Journal


def start(
    journal: "Journal", module: str, *arguments: str, descriptors: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    """Start ``python -m module arguments…``, which keeps the files ``descriptors`` open."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, module, *arguments],
        pass_fds=descriptors,
        start_new_session=True,
        stdin=subprocess.PIPE,
        # A kept run's companions outlive the runner; they must not hold the pipe that the runner writes into.
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
