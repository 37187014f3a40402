"""The lock of a host: one exclusive run at a time, and those that wait play after it."""

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from testbed.core.errors import HostError
from testbed.host import exclusive as module
from testbed.host.exclusive import exclusive


@pytest.fixture(autouse=True)
def lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "LOCK", tmp_path / "host" / "exclusive.lock")


def _hold(name: str, told: Connection) -> None:
    with exclusive(name, wait=True):
        told.send(name)
        told.recv()


@pytest.fixture
def other() -> Iterator[tuple[multiprocessing.Process, Connection]]:
    """Another process that holds the lock."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    process = fork.Process(target=_hold, args=("sweep of b", there))
    process.start()
    assert here.recv() == "sweep of b"
    yield process, here
    process.kill()
    process.join()


def test_a_second_exclusive_run_is_refused_and_the_first_is_named(other: tuple[object, Connection]) -> None:
    with pytest.raises(HostError, match="plays an exclusive run, sweep of b; to play after it, add --wait"):  # noqa: SIM117
        with exclusive("mine", wait=False):
            raise AssertionError("two at once")
    other[1].send("end")
    with exclusive("mine", wait=True):
        pass


def test_a_holder_that_dies_holds_nothing(other: tuple[multiprocessing.Process, Connection]) -> None:
    other[0].kill()
    with exclusive("mine", wait=True):
        pass
    with exclusive("again", wait=False):
        pass
