"""The pytest plugin, in pytest sessions of its own whose runs are not played."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from testbed import pytest_plugin

PROJECT = Path(__file__).parents[2]

CONFTEST = """\
import pyarrow.parquet
import json
from testbed.run import runner
from testbed.host import machine as host
from testbed.core.errors import HostError
from testbed.record.directory import RunDirectory
from testbed.analysis.verdict.fidelity import Fidelity
from testbed.analysis.measurements import Measurements
from testbed.analysis.recorded import FORMAT
from testbed.analysis.summary import Summary


def play(scenario, options, view):
    if scenario.name == "unlucky":
        raise HostError("this host has no links; to mend it: buy some")
    if scenario.name == "buggy":
        raise ZeroDivisionError("a bug")
    view.stage("play")
    directory = RunDirectory.create(scenario, options.out)
    events = [{"t": 0, "node": "", "event": "prompt", "prompt": "p1", "owner": "a", "text": "?", "truth": "Rome"}]
    events += [{"t": 0, "node": "a", "event": "arrival", "prompt": "p1"}]
    events += [{"t": 0, "node": "a", "event": "enqueue", "job": "p1.1@a", "prompt": "p1", "owner": "a", "layer": "1"}]
    events += [{"t": 0, "node": "a", "event": "start", "job": "p1.1@a"}]
    events += [{"t": 1, "node": "a", "event": "end", "job": "p1.1@a", "tokens": 1, "prompt_tokens": 1, "text": "Rome"}]
    if scenario.name == "good":
        events += [{"t": 1, "node": "a", "event": "answer", "prompt": "p1", "text": "Rome"}]
    else:
        events += [{"t": 1, "node": "a", "event": "failed", "prompt": "p1", "reason": "too long"}]
    directory.write_json("manifest.json", {"format": FORMAT, "seed": scenario.seed})
    samples = {"t": [0.0], "node": ["a"], "cpu": [0.0], "throttled": [0.0]}
    pyarrow.parquet.write_table(pyarrow.table(samples), directory.samples)
    directory.events.write_text("".join(json.dumps(event) + "\\n" for event in events))
    cut_off = "interrupted" if scenario.name == "stopped" else ""
    summary = Summary(scenario, "r", directory.path, Measurements(events, {}), Fidelity(), {}, cut_off)
    directory.write_summary(summary)
    return summary


runner.run = play
host.require_root = lambda: None
"""


@pytest.fixture
def scenarios(files: Any) -> Path:
    """A directory of scenarios, named after how they end, and a topology."""
    files.write()
    for name in ("good", "bad"):
        _add(files, name)
    (files.directory / "scenario.yaml").unlink()
    (files.directory / "conftest.py").write_text(CONFTEST)
    return Path(files.directory)


def _add(files: Any, name: str, more: str = "") -> None:
    text = files.scenario.replace("name: small", f"name: {name}").replace("layers: 1", "layers: 0") + more
    (files.directory / f"{name}.yaml").write_text(text, encoding="utf-8")


def _pytest(directory: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    alone = ["-c", os.devnull, "--rootdir", "."]  # whatever lies in folders above
    plugins = ["-p", "testbed.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *alone, *plugins, *options]
    environment = {"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin", "COLUMNS": "120"}
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, env=environment)


def test_a_failed_scenario_says_why_and_where_its_run_directory_is(scenarios: Path) -> None:
    outcome = _pytest(scenarios, "-v", "--junit-xml", "report.xml")
    assert outcome.returncode == 1
    shown = outcome.stdout.splitlines()
    assert any(line.startswith("bad.yaml::bad FAILED") for line in shown)
    assert any(line.startswith("good.yaml::good PASSED") for line in shown)
    assert "  completed: expected >= 0.95, was 0 %" in shown
    (place,) = [line.removeprefix("run directory: ") for line in shown if line.startswith("run directory: ")]
    assert (Path(place) / "summary.json").exists()
    assert "Traceback" not in outcome.stdout and "pytest_plugin.py" not in outcome.stdout
    cases = ElementTree.parse(scenarios / "report.xml").getroot().findall(".//testcase")
    assert {case.get("name"): case.find("failure") is not None for case in cases} == {"good": False, "bad": True}


def test_run_directories_and_topologies_are_no_tests(scenarios: Path) -> None:
    assert _pytest(scenarios, "good.yaml").returncode == 0  # leaves a run directory below
    (kept,) = (scenarios / "runs").iterdir()
    (kept / "logs").mkdir(exist_ok=True)
    listed = _pytest(scenarios, "--collect-only", "-q").stdout.splitlines()
    assert sorted(line for line in listed if "::" in line) == ["bad.yaml::bad", "good.yaml::good"]


def _collected(directory: Path, *options: str) -> list[str]:
    listed = _pytest(directory, "--collect-only", "-q", *options).stdout.splitlines()
    return sorted(line for line in listed if "::" in line)


def test_scenarios_beside_a_folder_of_logs_are_tests(scenarios: Path) -> None:
    (scenarios / "logs").mkdir()
    assert _collected(scenarios) == ["bad.yaml::bad", "good.yaml::good"]


def test_a_scenario_beside_files_of_a_run_is_a_test_unless_it_is_the_copy(scenarios: Path) -> None:
    for name in ("manifest.json", "events.jsonl"):
        (scenarios / name).touch()
    (scenarios / "good.yaml").rename(scenarios / "scenario.yaml")
    assert _collected(scenarios) == ["bad.yaml::bad"]


def _read_so_far() -> int:
    """Bytes that this process has read."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])  # type: ignore[index]


@pytest.mark.parametrize("begin", ["topology: t.yaml\nworkload: {}\n", "apiVersion: v1\n"])
def test_a_large_file_is_not_read_whole(begin: str, tmp_path: Path) -> None:
    size = 1 << 24
    (tmp_path / "large.yaml").write_text(begin)
    os.truncate(tmp_path / "large.yaml", size)
    before = _read_so_far()
    assert pytest_plugin._is_scenario(tmp_path / "large.yaml") is begin.startswith("topology")
    assert _read_so_far() - before < size / 8


def test_a_run_has_the_umask_and_the_limit_of_files_that_it_needs_and_pytest_gets_its_own_back(scenarios: Path) -> None:
    with (scenarios / "conftest.py").open("a") as conftest:
        conftest.write(
            "import os, resource\n"
            "def process():\n"
            "    umask = os.umask(0)\n"
            "    os.umask(umask)\n"
            "    return umask, resource.getrlimit(resource.RLIMIT_NOFILE)\n"
            "seen = []\n"
            "def watched(scenario, options, view):\n"
            "    seen.append(process())\n"
            "    return play(scenario, options, view)\n"
            "runner.run = watched\n"
        )
    (scenarios / "test_mine.py").write_text(
        "import os, resource, conftest\n"
        "def test_mine(testbed):\n"
        "    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        "    os.umask(0o077)\n"
        "    testbed('good.yaml')\n"
        "    assert conftest.seen == [(0o022, (hard, hard))]\n"
        "    assert conftest.process() == (0o077, (256, hard))\n"
    )
    outcome = _pytest(scenarios, "test_mine.py")
    assert outcome.returncode == 0, outcome.stdout


def test_scenarios_are_chosen_by_name_and_the_first_failure_can_end_it(scenarios: Path) -> None:
    assert "1 passed, 1 deselected" in _pytest(scenarios, "-k", "good").stdout
    assert "1 failed in" in _pytest(scenarios, "-x").stdout


def test_mistakes_and_hosts_that_lack_something_are_sentences_and_bugs_keep_their_traceback(
    scenarios: Path, files: Any
) -> None:
    _add(files, "mistaken", "expct: {}\n")
    _add(files, "unlucky")
    _add(files, "buggy")
    shown = _pytest(scenarios).stdout
    assert "mistaken.yaml:12: expct: there is no such key here; did you mean `expect`?" in shown
    assert "this host has no links; to mend it: buy some" in shown
    assert shown.count("ZeroDivisionError: a bug") >= 1
    assert "4 failed, 1 passed" in shown


def test_an_interrupted_run_interrupts_pytest(scenarios: Path, files: Any) -> None:
    _add(files, "stopped")
    outcome = _pytest(scenarios, "stopped.yaml", "good.yaml")
    assert outcome.returncode == pytest.ExitCode.INTERRUPTED
    assert "no tests ran" in outcome.stdout


def test_the_fixture_runs_a_scenario_with_changes_and_leaves_the_judgement_to_the_test(scenarios: Path) -> None:
    (scenarios / "test_mine.py").write_text(
        "def test_mine(testbed, tmp_path):\n"
        "    run = testbed('good.yaml', {'seed': 9, 'pattern.timeout': '1s'})\n"
        "    assert (run.verdict, run.metrics['completed'], run.scenario['seed']) == ('passed', 1.0, 9)\n"
        "    assert run.scenario['pattern']['timeout'] == '1s'\n"
        "    assert testbed('bad.yaml').verdict == 'failed'\n"
        "    assert [path.name for path in sorted(tmp_path.iterdir())] == ['run-1', 'run-2']\n"
    )
    outcome = _pytest(scenarios, "test_mine.py")
    assert outcome.returncode == 0, outcome.stdout


def test_nothing_heavy_is_imported_until_something_runs() -> None:
    code = "import sys, testbed.pytest_plugin; print([m for m in ('docker', 'numpy', 'pydantic') if m in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert outcome.stdout == "[]\n"


def test_the_package_registers_the_plugin() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for module in project["entry-points"]["pytest11"].values():
        assert hasattr(import_module(module), "pytest_collect_file")
