"""Fixtures for tests that run the testbed as a user does."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from observed import PROJECT, FinishedRun, Remains, start

from testbed.core.errors import HostError
from testbed.host.image import NODE_CODE
from testbed.world.plan import connect_docker


@pytest.fixture(scope="session", autouse=True)
def root_and_docker() -> None:
    """Without these nothing here can run; that is a failure, not something to skip."""
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
        (copy / file).write_text(code.replace(text, instead))
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
