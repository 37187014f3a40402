"""Fixtures for tests that run the testbed as a user does."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from observed import FinishedRun, Remains, start


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., FinishedRun]:
    """Run a scenario to its end: ``run(file, "--seed", "3")``."""

    def run_to_the_end(scenario: Path, *options: str) -> FinishedRun:
        path = tmp_path_factory.mktemp("run") / "directory"
        process = start("run", scenario, "--out", path, *options)
        output, _ = process.communicate()
        return FinishedRun(path, process.returncode, output)

    return run_to_the_end


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """After the test the host is as it was before it."""
    before = Remains.now()
    yield
    assert Remains.now() == before
