"""``python -m testbed.world.watcher JOURNAL``: undo a run after the death of its runner.

The watcher has a session of its own, so a signal to the runner's process group does not reach it.
"""

import subprocess
import sys
from pathlib import Path

from testbed.world.journal import Journal


def start(journal: Journal) -> "subprocess.Popen[bytes]":
    """Start a watcher of ``journal``. The process exits once the journal is undone or kept."""
    return subprocess.Popen(
        [sys.executable, "-m", "testbed.world.watcher", str(journal.path)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main(path: Path) -> None:
    """Wait until the runner is dead, and undo its run unless it was kept."""
    journal = Journal.take_over(path, wait=True)
    if journal is not None and not journal.kept:
        journal.undo()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
