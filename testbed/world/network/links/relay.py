"""The relay's process: ``python -m testbed.world.network.links.relay LISTENING_SOCKET``. relay.c does the work.

Undoing the run's journal ends the process, so that it serves a kept run after the runner has exited.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


def library() -> ctypes.CDLL:
    """relay.c and wire.c as they were compiled when the package was installed."""
    return ctypes.CDLL(str(Path(__file__).with_name(f"_relay{EXTENSION_SUFFIXES[0]}")))


def main(listener: int) -> None:
    """Serve the clients of the listening socket with descriptor ``listener``, at the highest priority available.

    A relay that runs late makes delays longer. Never returns.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler would never run
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        # With autogroups the nice value counts only within a session; between sessions the group's counts (sched(7)).
        Path("/proc/self/autogroup").write_text("-20")
    library().serve(listener)


if __name__ == "__main__":
    main(int(sys.argv[1]))
