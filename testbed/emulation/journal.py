"""Whatever a run makes on the host is written down before it is made, so that it can be undone after any death.

runner ── holds the lock of ──► journal ◄── waits for the lock ── watcher
   │ 1. record "container tb-x-a"   │
   │ 2. create it                   │  the kernel frees the lock when the runner dies, however it dies;
   ▼                                ▼  then the watcher, or a later `testbed clean`, undoes what is recorded
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final, TextIO

import docker
import docker.errors
import psutil
from pyroute2 import netns

JOURNALS: Final = Path("/var/lib/testbed/runs")
"""Not under /run: containers outlive a reboot, so what is known of them must, too."""


_UNDONE_AT_ONCE: Final = 8


@dataclass(frozen=True)
class Record:
    """Something that a run made: its kind and the name that it can be found by."""

    kind: str
    name: str


class Journal:
    """The journal of the run called ``run``, locked while its runner lives."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path = path
        self._file = file

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.stem

    @classmethod
    def begin(cls) -> "Journal":
        """A journal for a new run, whose id is drawn here."""
        JOURNALS.mkdir(parents=True, exist_ok=True)
        path = JOURNALS / f"{secrets.token_hex(3)}.jsonl"
        file = path.open("x", buffering=1)
        fcntl.flock(file, fcntl.LOCK_EX)
        return cls(path, file)

    @classmethod
    def take_over(cls, path: Path, wait: bool = False) -> "Journal | None":
        """The journal of a run whose runner is gone; None if it is alive or the journal undone already."""
        try:
            file = path.open("r+")
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except (FileNotFoundError, BlockingIOError):
            return None
        if os.fstat(file.fileno()).st_nlink == 0:
            return None
        return cls(path, file)

    def record(self, kind: str, name: str) -> None:
        """Note that the run is about to make something."""
        self._file.write(json.dumps({"kind": kind, "name": name}) + "\n")

    def record_process(self, pid: int) -> None:
        """Note a process of the run. A pid alone may be another process by the time it is read."""
        self.record("process", f"{pid}@{psutil.Process(pid).create_time()}")

    def records(self) -> list[Record]:
        """What the run made, in that order; a line that was cut off by the runner's death made nothing."""
        return list(_complete_records(self.path.read_text()))

    @property
    def kept(self) -> bool:
        """Whether the run was left standing on purpose (``run --keep``)."""
        return any(record.kind == "kept" for record in self.records())

    def keep(self) -> None:
        """Leave the run standing, and its journal with it."""
        self.record("kept", "")
        self._file.close()

    def undo(self) -> None:
        """Undo everything, the last first, and then the journal itself. What is gone already is no error."""
        for kind, records in groupby(reversed(self.records()), key=lambda record: record.kind):
            with ThreadPoolExecutor(_UNDONE_AT_ONCE) as pool:
                list(pool.map(_UNDO[kind], [record.name for record in records]))
        self.path.unlink(missing_ok=True)
        self._file.close()


def journals() -> list[Path]:
    """The journals of all runs that have not been undone."""
    return sorted(JOURNALS.glob("*.jsonl"))


def undo_dead_runs(kept_runs: Sequence[str]) -> Iterator[str]:
    """Undo every run whose runner is dead, of the kept ones only those named; a sentence for each run."""
    for path in journals():
        journal = Journal.take_over(path)
        if journal is None:
            yield f"{path.stem}: is running; left alone"
        elif journal.kept and journal.run not in kept_runs:
            yield f"{path.stem}: was kept; left alone (to remove it: testbed clean {path.stem})"
        else:
            journal.undo()
            yield f"{path.stem}: removed"


def _complete_records(text: str) -> Iterator[Record]:
    for line in text.splitlines():
        try:
            yield Record(**json.loads(line))
        except ValueError:
            return


def _remove_container(name: str) -> None:
    client = docker.from_env()
    try:
        client.api.remove_container(name, force=True, v=True)
    except docker.errors.NotFound:
        return
    finally:
        client.close()


def _remove_namespace(name: str) -> None:
    if name in netns.listnetns():
        netns.remove(name)


def _remove_directory(name: str) -> None:
    shutil.rmtree(name, ignore_errors=True)


def _end_process(name: str) -> None:
    pid, created = name.split("@")
    try:
        process = psutil.Process(int(pid))
        if process.create_time() == float(created):
            process.send_signal(signal.SIGKILL)
            process.wait(5)
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        return


_UNDO: Final[dict[str, Callable[[str], None]]] = {
    "container": _remove_container,
    "namespace": _remove_namespace,
    "directory": _remove_directory,
    "process": _end_process,
    "kept": lambda _: None,
}
