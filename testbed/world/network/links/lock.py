"""The lock of a run's links, for which no process waits for ever."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from testbed.world.network.links.backend import LinkError

PATIENCE: Final = 60.0
"""Seconds after which the lock counts as stuck. A holder waits at most half of that, for the relay."""

_INTERVAL: Final = 0.002  # seconds between two attempts


@contextmanager
def held(path: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock file ``path``. Raises LinkError if another process keeps it for ``patience`` seconds."""
    with path.open("wb") as file:
        deadline = time.monotonic() + patience
        while not _taken(file):
            if time.monotonic() >= deadline:
                raise LinkError(f"{path}: another process has kept the links locked for {patience:g} s")
            time.sleep(_INTERVAL)
        yield


def _taken(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
