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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final, TextIO

import psutil
from docker.errors import DockerException, NotFound
from pyroute2 import netns

from testbed.core.errors import SpecError, TestbedError
from testbed.host.machine import connect_docker

JOURNALS: Final = Path("/var/lib/testbed/runs")
"""Not under /run: containers outlive a reboot, so what is known of them must, too."""


_UNDONE_AT_ONCE: Final = 8
_CREATION_SECONDS: Final = 8.0
_KILL_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Record:
    """Something that a run made: its kind and the name that it can be found by."""

    kind: str
    name: str


class UndoError(TestbedError):
    """Something that a run made could not be removed."""

    exit_code = 3


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
        while True:
            path = JOURNALS / f"{secrets.token_hex(3)}.jsonl"
            file = path.open("x", buffering=1)
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_removed(file):  # a clean-up may have come between the two
                return cls(path, file)

    @classmethod
    def take_over(cls, path: Path, wait: bool = False) -> "Journal | None":
        """The journal of a run whose runner is gone; None if it is alive or the journal undone already."""
        try:
            file = path.open("r+")
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except (FileNotFoundError, BlockingIOError):
            return None
        return None if _is_removed(file) else cls(path, file)

    def record(self, kind: str, name: str) -> None:
        """Note that the run is about to make something."""
        self._file.write(json.dumps({"kind": kind, "name": name}) + "\n")

    def record_process(self, pid: int) -> None:
        """Note a process of the run. A pid alone may be another process by the time it is read."""
        self.record("process", f"{pid}@{_start_time(pid)}")

    def record_created(self, name: str) -> None:
        """Note that the creation of a container has come to its end. Before that, it may go on without the runner."""
        self.record("created", name)

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

    def undo(self) -> None:
        """Undo everything, the last first, and then the journal itself. What is gone already is no error.

        Raises UndoError, once all has been tried, if something could not be undone; the journal is then left.
        """
        records = self.records()
        created = {record.name for record in records if record.kind == "created"}
        failures: list[str] = []
        try:
            _let_creations_end({record.name for record in records if record.kind == "container"} - created)
        except TestbedError as error:
            failures.append(str(error))
        for _, made in groupby(reversed(records), key=lambda record: record.kind):
            with ThreadPoolExecutor(_UNDONE_AT_ONCE) as pool:
                failures += [failure for failure in pool.map(_try_to_undo, made) if failure]
        if failures:
            raise UndoError(f"{'; '.join(failures)}; to try again: sudo ./tb clean {self.run}")
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give up the lock: from here on the watcher, or anyone who cleans up, may undo the run."""
        self._file.close()


def journals() -> list[Path]:
    """The journals of all runs that have not been undone."""
    return sorted(JOURNALS.glob("*.jsonl"))


def undo_dead_runs(kept_runs: Sequence[str]) -> Iterator[str]:
    """Undo every run whose runner is dead, of the kept ones only those named; a sentence for each run.

    Raises SpecError if one that is named is not there, and UndoError, once all have been tried, if something could not
    be undone.
    """
    failures = []
    for run in kept_runs:
        if not (JOURNALS / f"{run}.jsonl").exists():
            raise SpecError.of("clean", f"there is no run {run!r} to remove")
    for path in journals():
        journal = Journal.take_over(path)
        if journal is None:
            yield f"{path.stem}: is running; left alone"
            continue
        with closing(journal):
            if journal.kept and journal.run not in kept_runs:
                yield f"{path.stem}: was kept; left alone (to remove it: testbed clean {path.stem})"
            else:
                try:
                    journal.undo()
                except UndoError as error:
                    failures.append(str(error))
                else:
                    yield f"{path.stem}: removed"
    if failures:
        raise UndoError("; ".join(failures))


def _complete_records(text: str) -> Iterator[Record]:
    for line in text.splitlines():
        try:
            yield Record(**json.loads(line))
        except ValueError:
            return


def _try_to_undo(record: Record) -> str | None:
    """Undo one thing; what stood in the way, if anything did."""
    try:
        _UNDO[record.kind](record.name)
    except (DockerException, TestbedError, OSError) as error:
        return f"the {record.kind} {record.name} could not be removed ({error})"
    return None


def _is_removed(file: TextIO) -> bool:
    return os.fstat(file.fileno()).st_nlink == 0


def _let_creations_end(names: set[str]) -> None:
    """The engine finishes what a runner asked for, though that is dead: wait until all are there to be removed."""
    if not names:
        return
    client = connect_docker()
    deadline = time.monotonic() + _CREATION_SECONDS
    while time.monotonic() < deadline:
        if names <= {container.name for container in client.containers.list(all=True, ignore_removed=True)}:
            break
        time.sleep(0.05)
    client.close()


def _remove_container(name: str) -> None:
    client = connect_docker()
    try:
        client.api.remove_container(name, force=True, v=True)
    except NotFound:
        return
    finally:
        client.close()


def _remove_namespace(name: str) -> None:
    if name in netns.listnetns():
        netns.remove(name)


def _remove_directory(name: str) -> None:
    shutil.rmtree(name, ignore_errors=True)


def _end_process(name: str) -> None:
    pid, started = name.split("@")
    try:
        if _start_time(int(pid)) == started:
            process = psutil.Process(int(pid))
            process.kill()
            with suppress(psutil.TimeoutExpired):  # killed it is; a busy kernel may take its time
                process.wait(_KILL_SECONDS)
    except (FileNotFoundError, psutil.NoSuchProcess):
        return


def _start_time(pid: int) -> str:
    """Clock ticks from boot to a process's start, which no change of the clock moves (proc(5), field 22 of stat)."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    return after_name.split()[22 - 3]


_UNDO: Final[dict[str, Callable[[str], None]]] = {
    "container": _remove_container,
    "namespace": _remove_namespace,
    "directory": _remove_directory,
    "process": _end_process,
    "created": lambda _: None,
    "kept": lambda _: None,
}
