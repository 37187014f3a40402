"""``import testbed``: runs are read and compared as the command line does, and nothing heavy is imported before."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.compute
import pyarrow.parquet
import pytest
from playing import played, scenario
from simulated import write_run

import testbed
from testbed.analysis.tables import events_table

PROJECT = Path(__file__).parents[2]
STEADY = [0.100 + 0.001 * (number % 7) for number in range(40)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(scenario(prompts=4), tmp_path_factory.mktemp("api") / "run")


def test_a_run_is_what_its_files_say(directory: Path) -> None:
    run = testbed.read_run(str(directory))
    summary = json.loads((directory / "summary.json").read_text())
    assert (run.summary, run.verdict, run.reasons, run.metrics) == (
        summary,
        summary["verdict"],
        summary["reasons"],
        summary["metrics"],
    )
    assert run.scenario["workload"]["count"] == 4
    assert run.manifest == json.loads((directory / "manifest.json").read_text())


def test_events_and_samples_are_arrow_tables(directory: Path) -> None:
    run = testbed.read_run(directory)
    lines = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    assert run.events.num_rows == len(lines)
    assert run.events.column_names[:3] == ["t", "node", "event"]
    assert [row["event"] for row in run.events.to_pylist()] == [line["event"] for line in lines]
    answers = run.events.filter(pyarrow.compute.field("event") == "answer")
    assert answers["prompt"].to_pylist() == [line["prompt"] for line in lines if line["event"] == "answer"]
    assert run.samples.equals(pyarrow.parquet.read_table(directory / "samples.parquet"))


def test_a_field_of_several_types_is_json_text() -> None:
    events = [
        {"t": 0, "node": "", "event": "decision", "score": 1},
        {"t": 1.5, "node": "a", "event": "decision", "score": "high"},
        {"t": 2, "node": "a", "event": "decision", "score": {"of": [1]}},
        {"t": 3, "node": "a", "event": "end"},
    ]
    table = events_table(events)
    assert table["t"].to_pylist() == [0.0, 1.5, 2.0, 3.0]
    assert table["score"].to_pylist() == ["1", '"high"', '{"of": [1]}', None]
    assert events_table([]).column_names == ["t", "node", "event"]


def test_what_is_no_run_directory_is_one_sentence(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(testbed.TestbedError, match="there is no such directory"):
        testbed.read_run(tmp_path / "nowhere")
    with pytest.raises(testbed.TestbedError, match=r"holds 1 runs; name one of them, like .*/run, or use read_runs"):
        testbed.read_run(directory.parent)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(testbed.TestbedError, match="is not the directory of a whole run"):
        testbed.read_run(tmp_path)
    (tmp_path / "manifest.json").write_bytes((directory / "manifest.json").read_bytes())
    with pytest.raises(testbed.TestbedError, match="is not the directory of a whole run"):
        _ = testbed.read_run(tmp_path).verdict
    with pytest.raises(testbed.TestbedError, match=r"events\.jsonl: No such file or directory"):
        _ = testbed.read_run(tmp_path).events


def test_runs_are_compared_as_the_command_line_does(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / "base" / f"seed-{seed}", STEADY, seed)
        write_run(tmp_path / "new" / f"seed-{seed}", [1.3 * seconds for seconds in STEADY], seed)
    (comparison,) = testbed.compare_runs(tmp_path / "base", testbed.read_runs(tmp_path / "new"))
    assert "latency.mean" in {change.metric for change in comparison.regressions}
    command = [sys.executable, "-m", "testbed", "compare", tmp_path / "base", tmp_path / "new", "--json"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert json.loads(told.stdout) == json.loads(json.dumps([comparison.as_dict()]))


def test_no_code_of_a_run_directory_is_executed(directory: Path, tmp_path: Path) -> None:
    for name in ("scenario.yaml", "summary.json", "manifest.json", "events.jsonl", "samples.parquet"):
        (tmp_path / name).write_bytes((directory / name).read_bytes())
    (tmp_path / "quorum.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    text = (tmp_path / "scenario.yaml").read_text()
    (tmp_path / "scenario.yaml").write_text(text.replace("kind: gossip-moa", "kind: ./quorum.py:Quorum"))
    run = testbed.read_run(tmp_path)
    assert run.scenario["pattern"]["kind"] == "./quorum.py:Quorum"
    testbed.compare_runs(run, run)
    assert not (tmp_path / "executed").exists()


def test_a_scenario_needs_no_event_loop_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from testbed.host import machine

    async def cell() -> None:
        testbed.run_scenario("scenarios/gossip_moa.yaml")

    monkeypatch.setattr(machine, "require_root", lambda: None)
    with pytest.raises(testbed.TestbedError, match="inside an event loop"):
        asyncio.run(cell())


def test_importing_it_imports_nothing_else() -> None:
    code = (
        "import sys; before = {*sys.modules}; import testbed; print({m.split('.')[0] for m in {*sys.modules} - before})"
    )
    command = [sys.executable, "-S", "-c", code]  # -S: without any installed package
    outcome = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT)
    names = set(outcome.stdout.strip("{}\n").replace("'", "").split(", "))
    assert "testbed" in names
    assert names - {"testbed"} <= sys.stdlib_module_names


def test_every_name_that_is_promised_is_there() -> None:
    assert {*testbed.__all__} <= {*dir(testbed)}
    for name in testbed.__all__:
        assert getattr(testbed, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = testbed.nothing
