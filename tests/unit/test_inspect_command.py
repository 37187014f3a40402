"""``testbed inspect``: what a run that is over says of itself, found by its directory or by its id."""

import json
from pathlib import Path

import pytest
from commands import Call, caller
from playing import played, scenario

RUN = "0a1b2c"  # the id that a played run has


@pytest.fixture
def inspect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Call ``testbed inspect`` beside a folder ``runs`` with a run in it."""
    played(scenario(), tmp_path / "runs" / "mine")
    monkeypatch.chdir(tmp_path)
    return caller(monkeypatch, capsys, "inspect")


def test_a_run_is_found_by_its_id_and_by_its_directory(inspect: Call) -> None:
    by_id, by_directory = inspect(RUN), inspect("runs/mine")
    assert by_id == by_directory
    assert (by_id.code, by_id.err) == (0, "")
    verdict, *lines = by_id.out.splitlines()
    assert verdict.startswith(f"{scenario().name} ")
    assert f"run {RUN}, seed " in verdict
    written = json.loads(Path("runs/mine/summary.json").read_text(encoding="utf-8"))
    for expectation in written["expectations"]:
        assert any(expectation["metric"] in line and "✓✗"[not expectation["held"]] in line for line in lines)
    assert [fault["name"] in by_id.out for fault in written["faults"]] == [True] * len(written["faults"])
    assert f"of {written['metrics']['prompts']} prompts)" in by_id.out
    assert lines[-1].strip() == "runs/mine/report.html"


def test_json_is_the_summary_with_the_directory(inspect: Call) -> None:
    told = json.loads(inspect(RUN, "--json").out)
    assert told.pop("directory") == "runs/mine"
    assert told == json.loads(Path("runs/mine/summary.json").read_text(encoding="utf-8"))


def test_what_is_no_run_is_refused(inspect: Call) -> None:
    refused = inspect("ffffff")
    assert (refused.code, refused.err) == (2, "ffffff: there is no such directory, and no run of this id in ./runs\n")
    summary = Path("runs/mine/summary.json")
    summary.write_text('{"scenario": "x"}', encoding="utf-8")
    incomplete = inspect(RUN)
    assert incomplete.code == 2
    assert incomplete.err.startswith("runs/mine: is not the directory of a whole run")
