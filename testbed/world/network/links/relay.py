"""The relay's process: ``python -m testbed.world.network.links.relay LISTENING_SOCKET``. The work is done in relay.c.

It outlives the runner for runs that are kept: the run's journal ends it.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


def library() -> ctypes.CDLL:
    """What relay.c and wire.c were compiled to when the package was installed."""
    return ctypes.CDLL(str(Path(__file__).with_name(f"_relay{EXTENSION_SUFFIXES[0]}")))


def main(listener: int) -> None:
    """Serve with as much precedence as can be had: a late relay is a wrong delay."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would never have its turn
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        # Between sessions that is nothing; what counts there is the session's own (sched(7), The autogroup feature).
        Path("/proc/self/autogroup").write_text("-20")
    library().serve(listener)


if __name__ == "__main__":
    main(int(sys.argv[1]))
