"""A run's journal: everything the run makes on the host is recorded before it is made, and can be undone later.

runner ── holds the lock of ──► journal ◄── waits for the lock ── watcher
   │ 1. record "container tb-x-a"   │
   │ 2. create it                   │  the kernel releases the lock when the runner dies, for any reason;
   ▼                                ▼  then the watcher, or a later `testbed clean`, undoes the records
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
from pyroute2 import NetlinkError, netns

from testbed.core.errors import TestbedError
from testbed.host.lending import Loan, take_back
from testbed.host.machine import connect_docker
from testbed.schema.network.sensor import SENSORS, PowerSwitch

JOURNALS: Final = Path("/var/lib/testbed/runs")
"""Not under /run: containers outlive a reboot of the host, so their records must, too."""

_UNDONE_AT_ONCE: Final = 8
_CREATION_SECONDS: Final = 8.0
_KILL_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Record:
    """Something that a run made: its kind, and the name under which it is found again."""

    kind: str
    name: str

    @property
    def subject(self) -> str:
        """What a message calls it: of an interface, which is recorded with all that it had, its name."""
        return Loan.load(self.name).interface.name if self.kind == "interface" else self.name


class UndoError(TestbedError):
    """Something that a run made cannot be removed."""

    exit_code = 3


class Journal:
    """The journal of one run. Its file is locked for as long as the runner lives."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path = path
        self._file = file

    @property
    def run(self) -> str:
        """The run's id, six hexadecimal digits."""
        return self.path.stem

    @classmethod
    def begin(cls) -> "Journal":
        """Create the journal of a new run, under a random id."""
        JOURNALS.mkdir(parents=True, exist_ok=True)
        while True:
            path = JOURNALS / f"{secrets.token_hex(3)}.jsonl"
            file = path.open("x", buffering=1)
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_removed(file):  # a clean-up may have removed it before the lock was taken
                return cls(path, file)

    @classmethod
    def take_over(cls, path: Path, wait: bool = False) -> "Journal | None":
        """The journal of a run whose runner is dead; None if the runner lives, or the journal has been undone.

        With ``wait``, waits until the runner is dead.
        """
        try:
            file = path.open("r+")
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except (FileNotFoundError, BlockingIOError):
            return None
        return None if _is_removed(file) else cls(path, file)

    def record(self, kind: str, name: str) -> None:
        """Record that the run is about to make something."""
        self._file.write(json.dumps({"kind": kind, "name": name}) + "\n")

    def record_process(self, pid: int) -> None:
        """Record a process of the run, with its start time: the kernel reuses pids."""
        self.record("process", f"{pid}@{_start_time(pid)}")

    def record_created(self, name: str) -> None:
        """Record that the engine has created a container. Until then, it may still do so after the runner's death."""
        self.record("created", name)

    def records(self) -> list[Record]:
        """The records, in the order of writing. A line that the runner's death cut off is left out: it made nothing."""
        return recorded(self.path)

    @property
    def kept(self) -> bool:
        """Whether the run was left running on purpose (``run --keep``)."""
        return any(record.kind == "kept" for record in self.records())

    def keep(self) -> None:
        """Leave the run running, and keep its journal."""
        self.record("kept", "")

    def note_results(self, directory: Path) -> None:
        """Record the run directory, by which the run is found again. It outlives the run."""
        self.record("results", str(directory.absolute()))

    def undo(self) -> None:
        """Remove everything that is recorded, the last record first, and then the journal. What is gone is no error.

        If something cannot be removed, the rest is removed, the journal stays, and UndoError is raised.
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
        """Release the lock: from here on the watcher, or `testbed clean`, may undo the run."""
        self._file.close()


def journals() -> list[Path]:
    """The files of all journals that have not been undone, sorted by id."""
    return sorted(JOURNALS.glob("*.jsonl"))


def recorded(path: Path) -> list[Record]:
    """The records of a journal; empty if it has been undone."""
    try:
        return list(_complete_records(path.read_text()))
    except FileNotFoundError:
        return []


def is_held(path: Path) -> bool:
    """Whether the runner of a journal lives."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def undo_dead_runs(kept_runs: Sequence[str]) -> Iterator[str]:
    """Undo every run whose runner is dead; yields a sentence for each run.

    Of the runs that were kept, only ``kept_runs`` are undone. If something cannot be removed, the other runs are undone
    first, and then UndoError is raised.
    """
    failures = []
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
    """Remove one thing; returns the reason if that fails."""
    try:
        _UNDO[record.kind](record.name)
    except (DockerException, NetlinkError, TestbedError, OSError) as error:
        return f"the {record.kind} {record.subject} could not be removed ({error})"
    return None


def _is_removed(file: TextIO) -> bool:
    return os.fstat(file.fileno()).st_nlink == 0


def _let_creations_end(names: set[str]) -> None:
    """Wait for containers that the engine is still creating for a dead runner: only then can they be removed."""
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
            with suppress(psutil.TimeoutExpired):  # the signal is sent; a busy kernel may need longer
                process.wait(_KILL_SECONDS)
    except (FileNotFoundError, psutil.NoSuchProcess):
        return


def _give_power(written: str) -> None:
    plug = SENSORS.get(json.loads(written)["kind"]).model_validate_json(written)
    assert isinstance(plug, PowerSwitch)
    plug.switch(on=True)


def _start_time(pid: int) -> str:
    """Clock ticks from boot to a process's start (proc(5), field 22 of stat). Setting the clock does not change it."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    return after_name.split()[22 - 3]


_UNDO: Final[dict[str, Callable[[str], None]]] = {
    "container": _remove_container,
    "interface": lambda text: take_back(Loan.load(text)),
    "namespace": _remove_namespace,
    "directory": _remove_directory,
    "process": _end_process,
    "created": lambda _: None,
    "power failure": _give_power,
    "kept": lambda _: None,
    "results": lambda _: None,
}
