"""Repetitions, comparisons and baselines of real runs, and scenario files as tests."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from observed import GOSSIP, PROJECT, start

pytestmark = pytest.mark.measures

SHORT = ("--fidelity", "off", "--set", "workload.count=8", "--set", "workload.arrivals.rate=2/s")


def _run(*arguments: str | Path) -> tuple[int, str]:
    process = start(*arguments)
    output, _ = process.communicate()
    return process.returncode, output


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short runs of the first scenario."""
    directory = tmp_path_factory.mktemp("base") / "runs"
    code, output = _run("run", GOSSIP, *SHORT, "--set", "expect={}", "--repeat", "2", "--out", directory)
    assert code == 0, output
    return directory


def test_repetitions_are_runs_of_their_own_with_seeds_that_follow(base: Path) -> None:
    assert sorted(path.name for path in base.iterdir()) == ["seed-7", "seed-8"]
    prompts = [(base / seed / "events.jsonl").read_text().count('"event": "prompt"') for seed in ("seed-7", "seed-8")]
    assert prompts == [8, 8]
    code, output = _run("compare", base, base, "--json")
    assert code == 0, output
    (comparison,) = json.loads(output)
    assert comparison["paired"] is True
    assert {f"{kind}.{node}" for kind in ("inference", "speed") for node in "abcd"} <= set(comparison["metrics"])


def test_a_run_over_slower_links_is_worse_than_its_baseline_and_fails(base: Path, tmp_path: Path) -> None:
    # Each answer takes 1.2 s more, which is more than a busy host adds, and less than makes a node ask again.
    slower = ("--set", "topology.defaults.link.delay=300ms", "--set", "expect={}")
    code, output = _run("run", GOSSIP, *SHORT, *slower, "--baseline", base, "--out", tmp_path / "slower")
    assert code == 1, output
    assert "✗ latency.mean: worse" in output
    assert json.loads((tmp_path / "slower" / "summary.json").read_text())["verdict"] == "failed"


def test_pytest_runs_a_scenario_file_and_says_why_it_failed(tmp_path: Path) -> None:
    text = GOSSIP.read_text().replace("../topologies", str(PROJECT / "topologies")).replace("count: 40", "count: 2")
    (tmp_path / "must_fail.yaml").write_text(text.replace('accuracy: ">= 0.5"', 'latency.p50: "< 1ms"'))
    command = [sys.executable, "-m", "pytest", "-p", "testbed.pytest_plugin", "-q", tmp_path]
    environment = {"PYTHONPATH": str(PROJECT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert outcome.returncode == 1, outcome.stdout
    assert re.search(r"latency\.p50: expected < 1ms, was \d", outcome.stdout)
    (place,) = [line for line in outcome.stdout.splitlines() if line.startswith("run directory: ")]
    assert (Path(place.removeprefix("run directory: ")) / "summary.json").exists()
