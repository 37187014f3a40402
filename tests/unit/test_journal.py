"""The journal: what it keeps when its runner dies, who may take it over, and that undoing touches only its own."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from testbed.world import companion
from testbed.world import journal as journals_of_host
from testbed.world.journal import Journal, Record, UndoError, journals, undo_dead_runs


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "runs"
    monkeypatch.setattr(journals_of_host, "JOURNALS", path)
    return path


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ends when it is ended, or when its standard input is."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def _dead(*records: tuple[str, str]) -> Path:
    """The journal of a run whose runner died after these records."""
    journal = Journal.begin()
    for record in records:
        journal.record(*record)
    journal._file.close()  # as the kernel does it for the dead
    return journal.path


def _taken_over(path: Path) -> Journal:
    journal = Journal.take_over(path)
    assert journal is not None
    return journal


def test_records_are_on_disk_at_once_in_their_order() -> None:
    journal = Journal.begin()
    journal.record("directory", "/tmp/ä b\n")
    journal.record("container", "tb-x-a")
    expected = [Record("directory", "/tmp/ä b\n"), Record("container", "tb-x-a")]
    assert journal.records() == Journal(journal.path, journal._file).records() == expected


def test_every_run_has_a_journal_of_its_own(folder: Path) -> None:
    begun = [Journal.begin() for _ in range(5)]
    assert journals() == sorted(journal.path for journal in begun)
    assert {path.parent for path in journals()} == {folder}
    assert len({journal.run for journal in begun}) == 5


def test_records_survive_a_line_that_was_cut_off_anywhere() -> None:
    path = _dead(("container", "tb-x-a"), ("namespace", "tb-x"))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert _taken_over(path).records() == [Record("container", "tb-x-a")]


def test_a_live_run_is_left_alone() -> None:
    journal = Journal.begin()
    journal.record("directory", "/nowhere")
    assert Journal.take_over(journal.path) is None
    assert list(undo_dead_runs([])) == [f"{journal.run}: is running; left alone"]
    assert journal.path.exists()


def test_the_lock_is_that_of_another_process_too() -> None:
    journal = Journal.begin()
    program = "import sys, pathlib; from testbed.world.journal import Journal;"
    program += "print(Journal.take_over(pathlib.Path(sys.argv[1])) is None)"

    def refused() -> str:
        command = [sys.executable, "-c", program, str(journal.path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert refused() == "True"
    journal.close()
    assert refused() == "False"


def test_a_dead_run_is_taken_over_by_one_only() -> None:
    path = _dead(("directory", "/nowhere"))
    winner = _taken_over(path)
    assert Journal.take_over(path) is None
    winner.undo()
    assert Journal.take_over(path) is None, "it is undone, so there is nothing to take over"


def test_whoever_waited_for_a_run_that_was_undone_meanwhile_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    path = _dead()
    real_flock = fcntl.flock

    def undone_before_the_lock_is_had(file: object, operation: int) -> None:
        path.unlink()
        real_flock(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", undone_before_the_lock_is_had)
    assert Journal.take_over(path, wait=True) is None


def test_a_kept_run_goes_only_when_it_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    directory.mkdir()
    journal = Journal.begin()
    journal.record("directory", str(directory))
    journal.keep()
    journal.close()
    (line,) = undo_dead_runs([])
    assert f"testbed clean {journal.run}" in line
    assert directory.exists()
    assert list(undo_dead_runs([journal.run])) == [f"{journal.run}: removed"]
    assert not directory.exists()
    assert journals() == []


def test_undo_removes_the_runs_directories_and_no_other(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "mine-too"
    for directory in (mine, other):
        (directory / "deep").mkdir(parents=True)
        (directory / "deep" / "file").write_text("x")
    path = _dead(("directory", str(mine)), ("directory", str(tmp_path / "gone already")))
    _taken_over(path).undo()
    assert not mine.exists()
    assert (other / "deep" / "file").exists()
    assert not path.exists()


def test_undo_does_not_follow_a_link_out_of_the_directory(tmp_path: Path) -> None:
    precious, mine = tmp_path / "precious", tmp_path / "mine"
    precious.mkdir()
    (precious / "file").write_text("x")
    mine.mkdir()
    (mine / "link").symlink_to(precious)
    _taken_over(_dead(("directory", str(mine)))).undo()
    assert not mine.exists()
    assert (precious / "file").exists()


def test_undo_ends_the_runs_process(sleeper: "subprocess.Popen[bytes]") -> None:
    journal = Journal.begin()
    journal.record_process(sleeper.pid)
    journal.undo()
    assert sleeper.poll() is not None


def test_undo_spares_a_process_that_only_has_the_same_id(sleeper: "subprocess.Popen[bytes]") -> None:
    """The kernel gives ids anew; the one that the run had started earlier."""
    created = psutil.Process(sleeper.pid).create_time()
    _taken_over(_dead(("process", f"{sleeper.pid}@{created - 5}"))).undo()
    assert sleeper.poll() is None


def test_a_process_that_is_gone_already_is_no_error(sleeper: "subprocess.Popen[bytes]") -> None:
    journal = Journal.begin()
    journal.record_process(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    journal.undo()
    assert not journal.path.exists()


def test_what_was_made_last_is_undone_first(monkeypatch: pytest.MonkeyPatch) -> None:
    undone: list[str] = []
    undo = {kind: lambda name, kind=kind: undone.append(f"{kind} {name}") for kind in ("process", "namespace")}
    monkeypatch.setattr(journals_of_host, "_UNDO", undo)
    _taken_over(_dead(("process", "a"), ("namespace", "n"), ("process", "b"))).undo()
    assert undone == ["process b", "namespace n", "process a"]


def test_a_journal_whose_undoing_fails_stays_for_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError(f"{name} resists")

    monkeypatch.setattr(journals_of_host, "_UNDO", {"process": fail})
    path = _dead(("process", "a"))
    with pytest.raises(RuntimeError, match="a resists"):
        _taken_over(path).undo()
    assert path.exists()


def test_one_run_that_cannot_be_undone_keeps_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, other = sorted([_dead(("directory", "stuck")), _dead(("directory", "other"))])
    names = {path: Journal(path, path.open()).records()[0].name for path in (stuck, other)}

    def refuse(name: str) -> None:
        if name == names[stuck]:
            raise OSError("busy")

    monkeypatch.setitem(journals_of_host._UNDO, "directory", refuse)
    with pytest.raises(UndoError, match=rf"{names[stuck]} could not be removed \(busy\)"):
        list(undo_dead_runs([]))
    assert journals() == [stuck]


def test_a_companion_that_no_journal_knows_does_not_begin() -> None:
    command = [sys.executable, "-m", companion.__name__, "this"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.communicate() == (b"", None)
    assert process.returncode == 0
