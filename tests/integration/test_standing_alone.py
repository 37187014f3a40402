"""The directory of a real run, opened where there is nothing but the package: no checkout, no originals, no network.

The verbs run in namespaces of their own, in which the checkout is hidden below an empty file system.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from observed import GOSSIP, PROJECT, FinishedRun

SCORER = """\
from testbed.workload.scoring.base import Scorer


class Length(Scorer):
    def score(self, question, answer):
        return min(1.0, len(answer) / 10)
"""


@pytest.fixture(scope="module")
def elsewhere(run: Callable[..., FinishedRun], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy of a run whose scenario, trace and scorer are gone."""
    originals = tmp_path_factory.mktemp("originals")
    shutil.copytree(PROJECT / "topologies", originals / "topologies")
    (originals / "length.py").write_text(SCORER)
    (originals / "lte.trace").write_text("".join(f"{time}\n" for time in range(1, 200)))
    topology = originals / "topologies" / "home_mesh.yaml"
    link = "  - endpoints: [a, s1]\n"
    text = topology.read_text()
    assert link in text
    topology.write_text(text.replace(link, f"{link}    down: {{trace: ../lte.trace}}\n"))
    scenario = originals / "scenario.yaml"
    scenario.write_text(GOSSIP.read_text().replace("../topologies", "topologies"))
    finished = run(
        scenario,
        *("--set", "workload.count=4", "--set", "workload.arrivals.rate=2/s", "--set", "expect={}"),
        *("--set", "workload.scorer=./length.py:Length", "--fidelity", "off"),
    )
    assert finished.exit_code == 0, finished.output
    copy = tmp_path_factory.mktemp("elsewhere") / "run"
    shutil.move(finished.path, copy)
    shutil.rmtree(originals)
    (copy / "report.html").unlink()
    return copy


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The package as it is installed, with its metadata; and its dependencies, which the checkout's environment has."""
    site, libraries = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("libraries")
    shutil.copytree(PROJECT / "testbed", site / "testbed", ignore=shutil.ignore_patterns("__pycache__"))
    (installed,) = (
        path for path in map(Path, sys.path) if path.name == "site-packages" and path.is_relative_to(PROJECT)
    )
    for metadata in installed.glob("testbed-*.dist-info"):
        shutil.copytree(metadata, site / metadata.name)
    libraries.joinpath("of").write_text(str(installed))
    return site, libraries


def _alone(package: tuple[Path, Path], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a verb with no network, and with the checkout hidden."""
    site, libraries = package
    installed = (libraries / "of").read_text()
    bound = libraries / "bound"
    bound.mkdir(exist_ok=True)
    script = (
        f"mount --bind {installed} {bound} && mount -t tmpfs none {PROJECT} && cd / "
        f'&& exec env -i PATH=/usr/bin:/bin HOME=/nonexistent PYTHONPATH={site}:{bound} "$0" -m testbed "$@"'
    )
    python = Path(sys.executable).resolve()  # outside the checkout, whose environment is hidden
    command = ["unshare", "--mount", "--net", "sh", "-ec", script, str(python), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_reported_where_there_is_nothing_else(elsewhere: Path, package: tuple[Path, Path]) -> None:
    outcome = _alone(package, "report", elsewhere)
    assert outcome.returncode == 0, outcome.stderr
    assert "lte.trace" in (elsewhere / "report.html").read_text(encoding="utf-8")


def test_it_is_compared_where_there_is_nothing_else(elsewhere: Path, package: tuple[Path, Path]) -> None:
    outcome = _alone(package, "compare", elsewhere, elsewhere)
    assert outcome.returncode == 0, outcome.stderr
    assert "accuracy" in outcome.stdout


def test_what_the_scorer_said_is_recorded(elsewhere: Path) -> None:
    finished = FinishedRun(elsewhere, 0, "")
    scores = [event for event in finished.events if event["event"] == "score"]
    assert len(scores) == 4
    assert {score["scorer"] for score in scores} == {"length.py:Length"}
    assert all(0 < score["value"] <= 1 for score in scores)


def test_it_can_be_run_again(elsewhere: Path, run: Callable[..., FinishedRun]) -> None:
    again = run(elsewhere / "scenario.yaml", "--fidelity", "off")
    assert again.exit_code == 0, again.output
    asked = [[event["text"] for event in one.events if event["event"] == "prompt"] for one in (_of(elsewhere), again)]
    assert asked[0] == asked[1]


def _of(path: Path) -> FinishedRun:
    return FinishedRun(path, 0, "")
