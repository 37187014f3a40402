"""A pytest plugin, which the package registers: scenario files as tests, and a fixture for tests in Python.

``pytest scenarios/`` runs each scenario file as a test, which fails with the reasons and the run directory. The fixture
``testbed`` runs a scenario within a test. Nothing of the testbed is imported before the first of either.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from testbed.core.errors import TestbedError

if TYPE_CHECKING:
    from testbed.analysis.summary import Summary

_SCENARIO_KEYS: Final = ("topology", "workload")
"""Keys at the top level of a YAML file that make a scenario of it."""


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "ScenarioFile | None":
    """Scenario files, but for the copy that a run leaves in its directory."""
    if file_path.suffix not in (".yaml", ".yml") or (file_path.parent / "logs").is_dir():
        return None
    return ScenarioFile.from_parent(parent, path=file_path) if _is_scenario(file_path) else None


def _is_scenario(path: Path) -> bool:
    """By its keys, as they stand: a file with a mistake in it is a scenario, too, and its test says what is wrong."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return all(re.search(rf"^{key}\s*:", text, re.MULTILINE) for key in _SCENARIO_KEYS)


class ScenarioFile(pytest.File):
    """A scenario file: one test, named after it."""

    def collect(self) -> Iterator["ScenarioTest"]:
        """The test."""
        yield ScenarioTest.from_parent(self, name=self.path.stem)


class ScenarioTest(pytest.Item):
    """A scenario, which is run; what it expects must hold."""

    def runtest(self) -> None:
        """Run it, with its directory where `testbed run` would make it."""
        summary = _run(self.path, (), None)
        if summary.verdict != "passed":
            raise ScenarioFailedError(summary)

    def repr_failure(  # type: ignore[override]  # pytest's own subclasses return strings, too
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> object:
        """What a user can be told is a few sentences; anything else is a bug and keeps its traceback."""
        if isinstance(excinfo.value, TestbedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """What the heading of a failure says."""
        return self.path, 0, f"scenario {self.name}"


class ScenarioFailedError(TestbedError):
    """A scenario that did not pass: why, and where its run directory is."""

    def __init__(self, summary: "Summary") -> None:
        lines = [f"{summary.scenario.name} {summary.verdict}", *(f"  {reason}" for reason in summary.reasons)]
        super().__init__("\n".join([*lines, f"run directory: {summary.directory.absolute()}"]))


Run = Callable[..., "Summary"]


@pytest.fixture
def testbed(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run a scenario: ``testbed("gossip.yaml", {"pattern.layers": 0, "seed": 3})`` returns its summary.

    The file is looked for from the test's directory; the mapping changes keys as ``--set`` does. A scenario that does
    not pass raises nothing: the test judges ``summary.verdict``, ``summary.metrics``, ``summary.directory``. One that
    cannot be run raises TestbedError.
    """

    def run(scenario: str | Path, changes: Mapping[str, object] | None = None) -> "Summary":
        # JSON is YAML, too.
        assignments = [f"{key}={json.dumps(value)}" for key, value in (changes or {}).items()]
        number = len(list(tmp_path.glob("run-*"))) + 1
        return _run(request.path.parent / scenario, assignments, tmp_path / f"run-{number}")

    return run


def _run(path: Path, assignments: Sequence[str], out: Path | None) -> "Summary":
    """Run a scenario as the command line does; its stages go to the captured output."""
    from rich.console import Console

    from testbed.host.machine import require_root
    from testbed.models.holdings import model_mistakes
    from testbed.run.campaign import Campaign
    from testbed.run.runner import Options
    from testbed.schema.scenario import load_scenario
    from testbed.show.live import PlainView

    require_root()
    os.umask(0o022)  # the nodes' user must be able to read what is written for it
    campaign = Campaign(load_scenario(path, assignments, model_mistakes), Options(out))
    campaign.play(lambda name: nullcontext(PlainView(Console(file=sys.stdout), name)))
    (summary,) = campaign.summaries
    if summary.interrupted:
        raise KeyboardInterrupt  # which the run took for itself; pytest is meant, too
    return summary
