"""``testbed simulate``: the run directory that it leaves, its labels, and what it refuses."""

import json
import random
from pathlib import Path

import pytest
from commands import Call, caller
from stated import PROJECT, Stated, gossip, measured

from testbed.analysis.recorded import RecordedRun
from testbed.run.simulating import simulated_run
from testbed.simulation.calibration import Calibration
from testbed.simulation.domain import Domain
from testbed.simulation.network import LinkNetwork
from testbed.simulation.simulation import Course, simulate

SCENARIO = PROJECT / "scenarios" / "gossip_moa.yaml"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(monkeypatch, capsys)


def calibration(handling: float = 0.004) -> Calibration:
    """Of a run whose inferences take 0.08 s, and whose answers are half of them right."""
    scenario, draw = gossip(1, 3, "1/s", 60), random.Random(1)
    stated = Stated(lambda: draw.uniform(0.06, 0.1), legs={"response": handling})
    course = simulate(scenario, stated, LinkNetwork(scenario.topology))
    made = Calibration(runs=["stated"])
    made.add(measured(course), scenario.topology)
    return made


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory like that of a valid run on containers."""
    path = tmp_path_factory.mktemp("real") / "run"
    simulated_run(gossip(1, 3, "1/s", 60), calibration(), path)
    summary = json.loads((path / "summary.json").read_text())
    summary["fidelity"] |= {"verdict": "valid", "reasons": []}
    (path / "summary.json").write_text(json.dumps(summary))
    return path


def test_it_leaves_a_run_directory_that_says_what_it_is(real: Path, call: Call, tmp_path: Path) -> None:
    said = call(
        "simulate", SCENARIO, "--from", real, "--set", "rate=2/s", "--set", "expect={}", "--out", tmp_path / "s"
    )
    assert (said.code, "simulated" in said.out, str(real.name) in said.out) == (0, True, True)
    run = RecordedRun.load(tmp_path / "s")
    assert (run.fidelity, run.seed, len(run.prompts), run.totals["completed"]) == ("simulated", 7, 40, 1.0)
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert (manifest["links"], manifest["simulation"]["from"]) == ("simulated", [str(real)])
    page = (tmp_path / "s" / "report.html").read_text()
    assert "simulated" in page and "answers were drawn again" in page


def test_report_and_compare_read_it(real: Path, call: Call, tmp_path: Path) -> None:
    for seed in (1, 2):
        out = tmp_path / f"seed-{seed}"
        assert call("simulate", SCENARIO, "--from", real, "--seed", seed, "--out", out, "--set", "expect={}").code == 0
    assert call("report", tmp_path / "seed-1").code == 0
    compared = call("compare", tmp_path / "seed-1", tmp_path / "seed-2", "--json")
    assert compared.code in (0, 1) and "latency.mean" in compared.out


def test_a_generated_topology_takes_the_nodes_of_the_scenario_in_turn(real: Path, call: Call, tmp_path: Path) -> None:
    recipe = "scale-free:nodes=30,links=4,seed=2"
    keys = ("--set", "neighbours=linked", "--set", "rate=0.1/s", "--set", "expect={}")
    said = call("simulate", SCENARIO, "--from", real, "--topology", recipe, *keys, "--out", tmp_path / "s", "--json")
    summary = json.loads(said.out)
    assert (said.code, len(summary["nodes"]), summary["metrics"]["completed"]) == (0, 30, 1.0)
    models = json.loads((tmp_path / "s" / "manifest.json").read_text())["models"]
    assert [models[f"n{number}"]["reference"] for number in (1, 2, 5)] == ["zoo/alpha", "zoo/beta", "zoo/alpha"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "rate=3/s"], "s of work per second; above 0.9"),
        (["--set", "proposers=2"], "no run has a call of the role 'aggregation' that reads 3 responses"),
        (["--set", "nodes.a.cpus=0.2"], "at zoo/alpha on 0.2 CPUs"),
        (["--set", "limit=10s"], "limit: is not simulated"),
        (["--set", "membership={}"], "membership: is not simulated"),
        (["--set", "nodes.a.slots=2"], "slots above 1: is not simulated"),
        (["--set", "timeline=[{at: 1s, kill: a}]"], "timeline: is not simulated"),
        (["--topology", "scale-free:nodes=3,links=3"], "`links` must be below `nodes`"),
        (["--topology", "scale-free:nodes=5,links=1", "--set", "neighbours=linked"], "needs 3 neighbours"),
    ],
)
def test_what_it_cannot_say_it_refuses(
    real: Path, call: Call, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    said = call("simulate", SCENARIO, "--from", real, "--out", tmp_path / "s", *arguments)
    assert said.code == 2
    assert sentence in said.err.replace("\n", " ")
    assert not (tmp_path / "s").exists()


def test_lengths_of_a_trace_are_refused(real: Path, call: Call, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("timestamp,input_length,output_length\n1,2,3\n")
    options = ("prompts=filler", f"arrivals={{process: trace, file: {trace}}}", "count=1")
    settings = [part for option in options for part in ("--set", f"workload.{option}")]
    said = call("simulate", SCENARIO, "--from", real, "--out", tmp_path / "s", *settings)
    assert (said.code, "the length of answers: is not simulated" in said.err.replace("\n", " ")) == (2, True)


@pytest.mark.parametrize("verdict", ["distorted", "invalid", "unmeasured", "simulated"])
def test_only_a_valid_run_calibrates(real: Path, call: Call, tmp_path: Path, verdict: str) -> None:
    copied = tmp_path / "copied"
    copied.mkdir()
    for file in real.iterdir():
        if file.is_file():
            (copied / file.name).write_bytes(file.read_bytes())
    summary = json.loads((copied / "summary.json").read_text())
    summary["fidelity"]["verdict"] = verdict
    (copied / "summary.json").write_text(json.dumps(summary))
    said = call("simulate", SCENARIO, "--from", copied, "--out", tmp_path / "s")
    assert said.code == 2
    assert f"is {verdict}, and only a valid run calibrates" in said.err.replace("\n", " ")


def test_long_messages_are_refused() -> None:
    with pytest.raises(Exception, match="must take less than 10% of it"):
        simulated_run(gossip(), calibration(handling=0.02))


@pytest.mark.parametrize(("load", "error"), [(0.0, 0.05), (0.5, 0.1), (0.75, 0.2)])
def test_predictions_widen_with_the_load(load: float, error: float) -> None:
    made = calibration()
    domain = Domain.of(made, Course(loads={"a": load, "b": load / 2}))
    assert domain.error == pytest.approx(error)
    made.means = [0.9, 1.1]  # runs that differ by 10 % either way
    assert domain.error == pytest.approx(2 * error)
