"""The examples, installed in an environment of their own: nothing of the project knows them."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from observed import PROJECT, FinishedRun

from testbed.models import zoo

EXAMPLES = PROJECT / "examples"
KINDS = {
    ("pattern", "surest"): "testbed-surest 0.1.0",
    ("fault", "throttle"): "testbed-throttle 0.1.0",
    ("prompt source", "jsonl"): "testbed-jsonl 0.1.0",
    ("scorer", "word-f1"): "testbed-word-f1 0.1.0",
    ("arrival process", "bursts"): "testbed-bursts 0.1.0",
    ("model source", "ollama"): "testbed-ollama 0.1.0",
    ("metric", "right_answers"): "testbed-right-answers 0.1.0",
}


@dataclass(frozen=True)
class Environment:
    """A Python environment; ``models`` is where Ollama has one model, called ``tiny``."""

    python: Path
    models: Path

    def run(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """``python -m ARGUMENT…`` with both outputs in ``stdout``."""
        command = [str(self.python), "-m", *map(str, arguments)]
        environment = {**os.environ, "OLLAMA_MODELS": str(self.models), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment that has the project's packages and the examples."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "project.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    copy = shutil.copytree(EXAMPLES, folder / "examples")  # building leaves files beside the sources
    packages = [path.parent for path in copy.glob("*/pyproject.toml")]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*pip, *packages], check=True)
    return Environment(python, _pulled(folder / "ollama"))


def _pulled(models: Path) -> Path:
    """A folder as `ollama pull tiny` would leave it, with a model of the zoo."""
    manifest = models / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "latest"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:0a1b"}
    manifest.write_text(json.dumps({"layers": [layer]}))
    (models / "blobs").mkdir()
    shutil.copy(zoo.path("alpha"), models / "blobs" / "sha256-0a1b")
    return models


@pytest.fixture(scope="module")
def play(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., FinishedRun]:
    """Run an example to its end: ``play("quorum", "workload.count=9")``."""

    def play_example(name: str, *assignments: str) -> FinishedRun:
        path = tmp_path_factory.mktemp(name) / "run"
        options = [word for assignment in assignments for word in ("--set", assignment)]
        ended = installed.run("testbed", "run", EXAMPLES / name / "scenario.yaml", "--out", path, *options)
        return FinishedRun(path, ended.returncode, ended.stdout)

    return play_example


@pytest.fixture(scope="module")
def voted(play: Callable[..., FinishedRun]) -> FinishedRun:
    """A run of the one-file pattern, with prompts that arrive in bursts while a node is throttled."""
    return play(
        "quorum",
        "workload.arrivals={process: bursts, rate: 1/s, size: 3}",
        "workload.count=9",
        "timeline=[{at: 500ms, throttle: {node: a, hot: 500ms, cool: 500ms}, for: 2s}]",
    )


@pytest.fixture(scope="module")
def cascaded(play: Callable[..., FinishedRun]) -> FinishedRun:
    """A run of the packaged pattern, with a model of Ollama, prompts from a file, a scorer and a metric."""
    return play(
        "surest",
        "topology.nodes.a.model=ollama:tiny",
        "workload.prompts={source: jsonl, path: ../jsonl/questions.jsonl}",
        "workload.scorer=word-f1",
        "workload.arrivals.rate=1/s",
        "workload.count=8",
        "expect={right_answers: '>= 0'}",
    )


def test_their_own_tests_pass(installed: Environment) -> None:
    without = ("-p", "no:testbed.pytest_plugin", "-p", "no:cacheprovider")  # it would play the scenarios
    ended = installed.run("pytest", "-q", *without, EXAMPLES)
    assert ended.returncode == 0, ended.stdout


def test_their_scenarios_are_valid(installed: Environment) -> None:
    models = [option for node in "ab" for option in ("--set", f"topology.nodes.{node}.model=ollama:tiny")]
    scenarios = sorted(EXAMPLES.glob("*/scenario.yaml"))
    assert len(scenarios) == len(KINDS) + 1
    ended = installed.run("testbed", "validate", *scenarios, *models)
    assert ended.returncode == 0, ended.stdout


def test_their_kinds_are_listed_with_the_packages_that_they_come_from(installed: Environment) -> None:
    ended = installed.run("testbed", "kinds", "--json")
    assert ended.returncode == 0, ended.stdout
    known = {(kind["noun"], kind["name"]): kind for kind in json.loads(ended.stdout)}
    assert {key: known[key]["origin"] for key in KINDS} == KINDS
    assert not [kind for kind in known.values() if kind["problem"]]


def test_a_pattern_of_one_file_answers_in_the_nodes(voted: FinishedRun) -> None:
    assert voted.exit_code == 0, voted.output
    assert voted.summary["metrics"]["completed"] == 1
    jobs = voted.jobs_by_prompt().values()
    assert all(2 <= len({job.partition("@")[2] for job in each}) <= 4 for each in jobs)


def test_arrivals_come_in_bursts_and_the_fault_takes_its_course(voted: FinishedRun) -> None:
    assert voted.exit_code == 0, voted.output
    assert {"bursts", "throttle"} <= _kinds(voted)
    (throttled,) = [entry for entry in voted.events if entry["event"] == "fault_begin"]
    assert throttled["name"] == "throttle-1"


def test_a_pattern_of_a_package_answers_in_the_nodes(cascaded: FinishedRun) -> None:
    assert cascaded.exit_code == 0, cascaded.output
    assert cascaded.summary["metrics"]["completed"] == 1
    jobs = [job for each in cascaded.jobs_by_prompt().values() for job in each]
    passed_on = [entry for entry in cascaded.events if entry["event"] == "decision"]
    assert len(jobs) == 8 + len(passed_on)


def test_prompts_models_scores_and_metrics_are_those_of_the_packages(cascaded: FinishedRun) -> None:
    assert cascaded.exit_code == 0, cascaded.output
    assert {"surest", "jsonl", "word-f1", "ollama"} <= _kinds(cascaded)
    known = {json.loads(line)["text"] for line in (EXAMPLES / "jsonl" / "questions.jsonl").read_text().splitlines()}
    asked = [entry["text"] for entry in cascaded.events if entry["event"] == "prompt"]
    assert set(asked) == known
    scores = [entry for entry in cascaded.events if entry["event"] == "score"]
    assert [entry["scorer"] for entry in scores] == ["word-f1"] * 8
    rate = cascaded.summary["metrics"]["right_answers"]
    assert rate is not None
    assert (rate > 0) == any(entry["value"] for entry in scores)


def test_a_run_is_valid_again_from_its_directory_alone(
    installed: Environment, cascaded: FinishedRun, voted: FinishedRun, tmp_path: Path
) -> None:
    for run, read in ((cascaded, "questions.jsonl"), (voted, "quorum.py")):
        assert run.exit_code == 0, run.output
        copy = shutil.copytree(run.path, tmp_path / run.path.parent.name)
        assert str(EXAMPLES) not in (copy / "scenario.yaml").read_text()
        assert (copy / "inputs" / read).exists()
        ended = installed.run("testbed", "validate", copy / "scenario.yaml")
        assert ended.returncode == 0, ended.stdout


def test_a_report_opens_where_none_of_the_packages_is_installed(
    cascaded: FinishedRun, voted: FinishedRun, tmp_path: Path
) -> None:
    for run in (cascaded, voted):
        assert run.exit_code == 0, run.output
        copy = shutil.copytree(run.path, tmp_path / run.path.parent.name)
        (copy / "report.html").unlink(missing_ok=True)
        ended = subprocess.run([sys.executable, "-m", "testbed", "report", copy], cwd=tmp_path, check=False)
        assert ended.returncode == 0
        assert (copy / "report.html").exists()
    compared = subprocess.run(
        [sys.executable, "-m", "testbed", "compare", cascaded.path, cascaded.path], cwd=tmp_path, check=False
    )
    assert compared.returncode == 0


def _kinds(run: FinishedRun) -> set[str]:
    """The names of the kinds that a run used, by its manifest."""
    manifest = json.loads((run.path / "manifest.json").read_text())
    return {kind["name"] for kind in manifest["kinds"]}
