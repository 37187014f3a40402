"""``testbed compare`` on run directories: exit codes, the table, JSON, and what is no run directory."""

import json
import random
from pathlib import Path

import pytest
from commands import Call, caller
from simulated import write_run

from testbed.cli import console as terminal

STEADY = [0.100 + 0.001 * (number % 7) for number in range(40)]
SLOWER = [1.3 * seconds for seconds in STEADY]


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call ``testbed compare`` in a terminal of 80 columns."""
    monkeypatch.setattr(terminal.out, "width", 80)

    return caller(monkeypatch, capsys, "compare")


def test_equal_runs_end_with_zero_and_slower_ones_with_one(compare: Call, tmp_path: Path) -> None:
    base, same, slower = (
        write_run(tmp_path / name, latencies)
        for name, latencies in (("base", STEADY), ("same", random.Random(1).sample(STEADY, 40)), ("new", SLOWER))
    )
    equal = compare(base, same)
    assert (equal.code, equal.err) == (0, "")
    assert "simulated  no difference found" in equal.out
    worse = compare(base, slower)
    assert (worse.code, worse.err) == (1, "")
    (line,) = [line for line in worse.out.splitlines() if "latency.mean" in line]
    *values, least, _, most, unit, verdict = line.split()
    assert (values, unit, verdict) == (["latency.mean", "103", "ms", "134", "ms"], "%", "worse")
    assert 29 < float(least) < 30 < float(most) < 31
    assert max(map(len, worse.out.splitlines())) <= 80
    assert compare(slower, base).code == 0


def test_directories_of_runs_are_taken_as_what_they_hold(compare: Call, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_run(tmp_path / "base" / f"seed-{seed}", STEADY, seed)
        write_run(tmp_path / "new" / f"seed-{seed}", SLOWER, seed)
    together = json.loads(compare(tmp_path / "base", tmp_path / "new", "--json").out)
    one_by_one = [tmp_path / "new" / f"seed-{seed}" for seed in (1, 2, 3)]
    first, *rest = (tmp_path / "base" / f"seed-{seed}" for seed in (1, 2, 3))
    apart = json.loads(compare(first, *one_by_one, *(f"--base={path}" for path in rest), "--json").out)
    assert together == apart
    (comparison,) = together
    assert comparison["paired"] is True
    assert comparison["new"] == list(map(str, one_by_one))
    assert comparison["metrics"]["latency.p95"]["verdict"] == "worse"
    assert comparison["metrics"]["inference.a"]["verdict"] == "worse"
    assert comparison["metrics"]["speed.a"]["base"] == pytest.approx(1 / 3)


def test_a_margin_makes_changes_too_small_to_matter(compare: Call, tmp_path: Path) -> None:
    base, slower = write_run(tmp_path / "base", STEADY), write_run(tmp_path / "new", SLOWER)
    assert compare(base, slower, "--margin", "25%").code == 1
    assert compare(base, slower, "--margin", "35%").code == 0
    refused = compare(base, slower, "--margin", "a lot")
    assert (refused.code, refused.err) == (2, "--margin: 'a lot' is not a share; write it like 1%\n")


def test_lost_prompts_are_worse(compare: Call, tmp_path: Path) -> None:
    lossy = [None if number % 2 else seconds for number, seconds in enumerate(STEADY)]
    outcome = compare(write_run(tmp_path / "base", STEADY), write_run(tmp_path / "new", lossy), "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out)[0]["metrics"]["completed"]["verdict"] == "worse"


def test_a_busy_host_is_mentioned(compare: Call, tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", STEADY, fidelity="distorted")
    outcome = compare(base, write_run(tmp_path / "new", SLOWER))
    assert (outcome.code, "  1 base runs are distorted" in outcome.out) == (0, True)


def _renamed(directory: Path, name: str) -> Path:
    summary = directory / "summary.json"
    summary.write_text(summary.read_text().replace("simulated", name))
    return directory


def test_what_differs_is_said_first_key_by_key(compare: Call, tmp_path: Path) -> None:
    base, new = write_run(tmp_path / "base", STEADY), write_run(tmp_path / "new", STEADY)
    assert "no key of the scenarios differs" in compare(base, new).out
    written = (
        "name: other\nseed: 9\npattern: {kind: gossip-moa, proposers: 3}\n"
        "topology: {name: x, nodes: {a: {model: zoo/alpha, cpus: 0.6, memory: 160MiB}, b: {model: zoo/beta, cpus: 0.1, "
        "memory: 160MiB}}, links: [{endpoints: [a, b], delay: 5ms}]}\n"
    )
    (new / "scenario.yaml").write_text(written)
    (base / "scenario.yaml").write_text(written.replace("0.6", "0.3").replace("5ms", "9ms").replace("proposers: 3", ""))
    lines = [line.strip() for line in compare(base, new).out.splitlines()]
    told = lines.index("what differs between the scenarios:")
    assert set(lines[told + 1 : told + 4]) == {
        "pattern.proposers: – → 3",
        "nodes.a.cpus: 0.3 → 0.6",
        "links.a-b.delay: 9ms → 5ms",
    }
    assert told < next(number for number, line in enumerate(lines) if line.startswith("metric"))
    (compared,) = json.loads(compare(base, new, "--json").out)
    assert compared["differences"]["nodes.a.cpus"] == {"base": "0.3", "new": "0.6"}


def test_runs_of_two_names_are_compared(compare: Call, tmp_path: Path) -> None:
    base, new = write_run(tmp_path / "base", STEADY), _renamed(write_run(tmp_path / "new", SLOWER), "slower")
    outcome = compare(base, new)
    assert outcome.code == 1
    assert outcome.out.startswith("simulated → slower")


def test_a_metric_that_is_not_tested_shows_its_change_and_says_why(compare: Call, tmp_path: Path) -> None:
    base, new = write_run(tmp_path / "base", STEADY[:3]), write_run(tmp_path / "new", SLOWER[:3])
    (line,) = [line for line in compare(base, new).out.splitlines() if "latency.mean" in line]
    assert line.split()[-8:] == ["+30", "%", "not", "tested:", "3", "of", "5", "observations"]


def _refusal(compare: Call, *arguments: str | Path) -> str:
    outcome = compare(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    (sentence,) = outcome.err.splitlines()
    return sentence


def test_what_is_no_run_directory_is_refused(compare: Call, tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", STEADY)
    assert "nowhere: there is no such directory" in _refusal(compare, good, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "empty: holds no run" in _refusal(compare, tmp_path / "empty", good)
    others = [_renamed(write_run(tmp_path / "others" / name, STEADY), name) for name in ("one", "two")]
    assert "no scenario was played" in _refusal(compare, good, others[0].parent)
    invalid = write_run(tmp_path / "invalid", STEADY, verdict="invalid")
    assert "no scenario was played to its end, and validly, on both sides" in _refusal(compare, good, invalid)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", None),
        ("events.jsonl", None),
        ("samples.parquet", None),
        ("samples.parquet", "no table"),
        ("events.jsonl", '{"t": 1'),
        ("events.jsonl", "[]\n"),
        ("summary.json", "[]"),
        ("summary.json", "{}"),
        ("summary.json", "\udcff"),
    ],
)
def test_half_a_run_directory_is_refused(compare: Call, tmp_path: Path, name: str, content: str | None) -> None:
    broken = write_run(tmp_path / "broken", STEADY)
    if content is None:
        (broken / name).unlink()
    else:
        (broken / name).write_text(content, encoding="utf-8", errors="surrogateescape")
    assert "broken: is not the directory of a whole run" in _refusal(compare, broken, broken)
