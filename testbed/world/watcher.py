"""``python -m testbed.world.watcher JOURNAL``: undo a run whose runner died.

The watcher lives in a session of its own, so that what kills the runner's process group does not kill it.
"""

import subprocess
import sys
from pathlib import Path

from testbed.world.journal import Journal


def start(journal: Journal) -> "subprocess.Popen[bytes]":
    """Watch over ``journal``; the watcher ends by itself once the journal is undone or kept."""
    return subprocess.Popen(
        [sys.executable, "-m", "testbed.world.watcher", str(journal.path)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main(path: Path) -> None:
    """Wait until the runner is gone, then undo what it left."""
    journal = Journal.take_over(path, wait=True)
    if journal is not None and not journal.kept:
        journal.undo()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
