"""A pytest plugin, which the package registers: scenario files as tests, and a fixture for tests in Python.

``pytest scenarios/`` runs each scenario file as a test. A test that fails shows the reasons and the run directory. The
fixture ``testbed`` runs a scenario within a test. The plugin imports the rest of the testbed when the first scenario is
run.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from testbed.core.errors import TestbedError

if TYPE_CHECKING:
    from testbed import Run

_SCENARIO_KEYS: Final = ("topology", "workload")
"""A YAML file with these keys at its top level is a scenario."""

_LEFT_BY_A_RUN: Final = ("manifest.json", "events.jsonl")
"""Files that lie beside ``scenario.yaml`` in a run directory."""

_HEAD: Final = 256 * 1024
"""Characters of a file in which the keys must begin."""


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "ScenarioFile | None":
    """Collect scenario files, without the copies in run directories."""
    if file_path.suffix not in (".yaml", ".yml") or _is_copy(file_path) or not _is_scenario(file_path):
        return None
    return ScenarioFile.from_parent(parent, path=file_path)


def _is_copy(path: Path) -> bool:
    return path.name == "scenario.yaml" and all(path.with_name(name).is_file() for name in _LEFT_BY_A_RUN)


def _is_scenario(path: Path) -> bool:
    """Whether the file has a scenario's keys. A file with mistakes has them, too: its test says what is wrong."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD)
    except OSError:  # a foreign file that this user may not read is no failure
        return False
    return all(re.search(rf"^{key}\s*:", head, re.MULTILINE) for key in _SCENARIO_KEYS)


class ScenarioFile(pytest.File):
    """A scenario file: one test, named after the file."""

    def collect(self) -> Iterator["ScenarioTest"]:
        """Yield the test."""
        yield ScenarioTest.from_parent(self, name=self.path.stem)


class ScenarioTest(pytest.Item):
    """A test that runs a scenario and passes if the run does."""

    def runtest(self) -> None:
        """Run the scenario, with its run directory under ``runs/`` as `testbed run` has it."""
        from testbed import run_scenario

        run = run_scenario(self.path)
        if run.verdict != "passed":
            raise ScenarioFailedError(run)

    def repr_failure(  # type: ignore[override]  # pytest's own subclasses return strings, too
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> object:
        """The sentences of a TestbedError; the traceback of any other exception, which is a bug."""
        if isinstance(excinfo.value, TestbedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """The heading of a failure."""
        return self.path, 0, f"scenario {self.name}"


class ScenarioFailedError(TestbedError):
    """A scenario that did not pass: the verdict, the reasons and the run directory."""

    def __init__(self, run: "Run") -> None:
        lines = [f"{run.summary['scenario']} {run.verdict}", *(f"  {reason}" for reason in run.reasons)]
        super().__init__("\n".join([*lines, f"run directory: {run.directory.absolute()}"]))


@pytest.fixture
def testbed(request: pytest.FixtureRequest, tmp_path: Path) -> "Callable[..., Run]":
    """Run a scenario: ``testbed("gossip.yaml", {"pattern.layers": 0, "seed": 3})`` returns its ``testbed.Run``.

    The path is relative to the test's file. The mapping changes keys as ``--set`` does. A scenario that does not pass
    raises nothing: the test judges ``verdict`` and ``metrics``. A scenario that cannot be run raises TestbedError.
    """

    def run(scenario: str | Path, changes: Mapping[str, object] | None = None) -> "Run":
        from testbed import run_scenario

        number = len(list(tmp_path.glob("run-*"))) + 1
        return run_scenario(request.path.parent / scenario, changes, out=tmp_path / f"run-{number}")

    return run
