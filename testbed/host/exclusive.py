"""The lock of this host, which one exclusive run at a time holds. Runs that do not ask for it play beside others."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from testbed.core.errors import HostError

LOCK: Final = Path("/var/lib/testbed/exclusive.lock")


@contextmanager
def exclusive(holder: str, wait: bool) -> Iterator[None]:
    """Hold the lock until the block ends; the kernel releases it if this process dies.

    ``holder`` says to others who holds it. Without ``wait``, HostError is raised if another process has the lock.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+", encoding="utf-8") as file:
        _take(file, wait)
        file.truncate(0)
        file.write(holder)
        file.flush()
        yield


def _take(file: TextIO, wait: bool) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.seek(0)
        raise HostError(
            f"this host plays an exclusive run, {file.read() or 'just begun'}; to play after it, add --wait"
        ) from None
