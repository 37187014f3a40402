"""What the workers of a cluster execute. A run is a process of its own, which takes signals and has an exit status."""

import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

from testbed.run.cluster.archive import pack, unpack

RUNNER: Final = (sys.executable, "-m", "testbed", "run")

_ENDS_WITH_THIS_PROCESS: Final = ("setpriv", "--pdeathsig", "TERM")
"""The kernel terminates the runner if its worker dies, and the runner cleans up."""


@dataclass(frozen=True)
class Played:
    """The end of a runner.

    ``status`` is its exit status, negative for a signal; ``said`` is its last line on standard error, and
    ``directory`` the packed run directory.
    """

    status: int
    said: str
    directory: bytes | None


class _Runners:
    """The runners of this worker, by campaign."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: defaultdict[str, set[subprocess.Popen[bytes]]] = defaultdict(set)
        self._stopped: set[str] = set()

    @contextmanager
    def start(self, campaign: str, command: Sequence[str], said: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
        """Start a runner; it gets SIGINT at once if its campaign has been stopped.

        Its standard error goes to a file: what the runner has started may outlive it, and would keep a pipe open.
        """
        with self._lock:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
            self._running[campaign].add(process)
            if campaign in self._stopped:
                process.send_signal(signal.SIGINT)
        try:
            yield process
        finally:
            with self._lock:
                self._running[campaign].discard(process)

    def stop(self, campaign: str) -> bool:
        """Interrupt the runners of a campaign, and those that it starts later; returns whether there are any."""
        with self._lock:
            self._stopped.add(campaign)
            for process in self._running[campaign]:
                process.send_signal(signal.SIGINT)
            return bool(self._running[campaign])


_RUNNERS: Final = _Runners()


def play(campaign: str, scenario: bytes, options: Sequence[str], runner: Sequence[str] = RUNNER) -> Played:
    """Play a packed scenario by the command ``runner``, and wait until it has ended."""
    with TemporaryDirectory(prefix="testbed-") as folder:
        asked, out = Path(folder, "asked"), Path(folder, "run")
        unpack(scenario, asked)
        command = [*_ENDS_WITH_THIS_PROCESS, *runner, str(asked / "scenario.yaml"), "--out", str(out), *options]
        with Path(folder, "said").open("w+", encoding="utf-8") as said:
            with _RUNNERS.start(campaign, command, said) as process:
                status = process.wait()
            said.seek(0)
            lines = said.read().strip().splitlines()
        return Played(status, lines[-1].strip() if lines else "", pack(out) if out.is_dir() else None)


def stop(campaign: str) -> bool:
    """Interrupt what this worker plays of a campaign; returns whether it plays anything of it."""
    return _RUNNERS.stop(campaign)
