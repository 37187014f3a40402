"""Fixtures for tests that run the testbed as a user does, and the order in which they take turns.

With ``pytest -n`` several tests run at a time. A module marked ``measures`` asserts what was measured of links, CPUs or
models: its tests run alone on this machine, after all others. All sessions share the lock that sees to it.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from observed import PROJECT, FinishedRun, Remains, start

from testbed.core.errors import HostError
from testbed.host.image import NODE_CODE
from testbed.world.plan import connect_docker

TURNS = Path("/run/testbed-tests.lock")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that measure last, so that no other worker waits for them while it could go on."""
    items.sort(key=_measures)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test, its fixtures included, beside others or alone."""
    with TURNS.open("w") as turns:
        fcntl.flock(turns, fcntl.LOCK_EX if _measures(item) else fcntl.LOCK_SH)
        return (yield)


def _measures(item: pytest.Item) -> bool:
    return item.get_closest_marker("measures") is not None


def pytest_sessionstart() -> None:
    """End the session without root or Docker, before workers start: that is a failure, not something to skip."""
    if os.geteuid() != 0:
        pytest.exit("the integration tests need root: sudo ./tb test integration", returncode=1)
    try:
        connect_docker()
    except HostError as error:
        pytest.exit(f"the integration tests need Docker: {error}", returncode=1)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., FinishedRun]:
    """Run a scenario to its end: ``run(file, "--seed", "3")``."""

    def run_to_the_end(scenario: os.PathLike[str], *options: str) -> FinishedRun:
        path = tmp_path_factory.mktemp("run") / "directory"
        process = start("run", scenario, "--out", path, *options)
        output, _ = process.communicate()
        return FinishedRun(path, process.returncode, output)

    return run_to_the_end


@pytest.fixture
def mutant(tmp_path: Path) -> Iterator[Callable[[str, str, str], Path]]:
    """A copy of the project in which, in one file of the nodes' code, one text stands for another."""
    copy, images = tmp_path / "mutant", list[str]()

    def mutate(file: str, text: str, instead: str) -> Path:
        assert file.startswith(NODE_CODE), "nodes run without it"
        for folder in ("testbed", "images", "scenarios", "topologies"):
            shutil.copytree(PROJECT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        code = (copy / file).read_text()
        assert code.count(text) == 1, "the code has changed: mutate what stands there now"
        unique = f"\n# {copy}\n"  # an image of its own, which no other session's test removes
        (copy / file).write_text(code.replace(text, instead) + unique)
        output, _ = start("image", project=copy).communicate()
        images.append(output.split()[-1])
        return copy

    yield mutate
    for image in images:
        connect_docker().images.remove(image)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """After the test the host is as it was before it."""
    before = Remains.now()
    yield
    assert Remains.now() == before
