"""Repetitions and baselines, with runs that are not played but end as a test wants them to."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fake_host import FakeHost
from simulated import write_run

from testbed.analysis.measurements import Measurements
from testbed.analysis.summary import Summary
from testbed.analysis.verdict.fidelity import Fidelity, Flaw
from testbed.core.errors import SpecError
from testbed.record.directory import RunDirectory
from testbed.run import campaign, runner
from testbed.run.campaign import Campaign
from testbed.run.orders import ThisHost
from testbed.schema.scenario import Scenario

LATENCIES = [0.1 + 0.001 * (number % 7) for number in range(40)]


@dataclass
class Host(FakeHost):
    """Every prompt takes ``factor`` times what it takes in the baseline."""

    factor: float = 1.0
    fidelity: Fidelity = field(default_factory=Fidelity)
    interrupt_at: int | None = None

    @property
    def seeds(self) -> list[int]:
        return [scenario.seed for scenario in self.played]

    def end(self, scenario: Scenario, directory: RunDirectory) -> Summary:
        written = write_run(directory.path / "of", [self.factor * seconds for seconds in LATENCIES], scenario.seed)
        for name in ("events.jsonl", "manifest.json", "samples.parquet"):
            (written / name).rename(directory.path / name)
        events = [json.loads(line) for line in directory.events.read_text().splitlines()]
        cut_off = "interrupted" if self.interrupt_at == scenario.seed else ""
        summary = Summary(scenario, "r", directory.path, Measurements(events, {}), self.fidelity, {}, cut_off)
        directory.write_summary(summary)
        return summary


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(runner, "run", host.run)
    monkeypatch.setattr(campaign, "write_report", lambda _: None)  # there is too little of these runs for a page
    return host


Play = Callable[..., list[Summary]]


@pytest.fixture
def play(files: Any, tmp_path: Path) -> Play:
    def play(out: str, *assignments: str, repeat: int = 1) -> list[Summary]:
        runs = Campaign(files.load("pattern.layers=0", *assignments), tmp_path / out, repeat)
        runs.play(ThisHost(runner.Options(), lambda *_: nullcontext()))  # type: ignore[arg-type]
        return runs.summaries

    return play


def test_repetitions_have_the_seeds_that_follow_and_share_a_directory(host: Host, play: Play, tmp_path: Path) -> None:
    summaries = play("all", repeat=3)
    assert host.seeds == [3, 4, 5]
    assert [summary.directory for summary in summaries] == [tmp_path / "all" / f"seed-{seed}" for seed in (3, 4, 5)]
    with pytest.raises(SpecError, match="is not empty"):
        play("all", repeat=3)


def test_one_run_has_the_directory_to_itself(host: Host, play: Play, tmp_path: Path) -> None:
    assert [summary.directory for summary in play("one")] == [tmp_path / "one"]
    assert host.seeds == [3]


def test_nothing_follows_an_interrupted_run(host: Host, play: Play) -> None:
    host.interrupt_at = 4
    assert [summary.verdict for summary in play("all", repeat=3)] == ["passed", "interrupted"]


@pytest.mark.parametrize("repeat", [1, 3])
def test_a_run_that_is_worse_than_its_baseline_fails_and_says_so(host: Host, play: Play, repeat: int) -> None:
    assert {summary.verdict for summary in play("base", repeat=3)} == {"passed"}
    host.factor = 1.3
    summaries = play("new", "baseline=base", repeat=repeat)
    assert [summary.exit_code for summary in summaries] == [1] * repeat
    said = "latency.mean: worse, was 103 ms in the baseline, is 134 ms (+"
    assert any(reason.startswith(said) for reason in summaries[0].reasons)
    written = json.loads((summaries[-1].directory / "summary.json").read_text())
    assert written["verdict"] == "failed"
    assert written["baseline"]["metrics"]["latency.mean"]["verdict"] == "worse"
    (failed,) = ElementTree.parse(summaries[-1].directory / "junit.xml").getroot().iterfind(".//testcase[failure]")
    assert failed.get("name") == "baseline"


def test_a_run_that_is_as_good_as_its_baseline_or_better_passes(host: Host, play: Play) -> None:
    play("base", repeat=3)
    assert {summary.verdict for summary in play("same", "baseline=base", repeat=3)} == {"passed"}
    host.factor = 0.5
    assert {summary.verdict for summary in play("faster", "baseline=base", repeat=3)} == {"passed"}


def test_a_run_whose_emulation_broke_is_not_held_against_anything(host: Host, play: Play) -> None:
    play("base")
    host.factor, host.fidelity = 2.0, Fidelity("quick", [Flaw("invalid", "the links ended")])
    (summary,) = play("new", "baseline=base")
    assert (summary.verdict, summary.comparison) == ("invalid", None)


def test_a_baseline_of_another_scenario_is_refused_before_anything_runs(host: Host, play: Play, tmp_path: Path) -> None:
    write_run(tmp_path / "other", LATENCIES)
    with pytest.raises(SpecError, match="holds no valid run of small, so it is no baseline for it"):
        play("new", "baseline=other")
    assert host.seeds == []


def test_a_baseline_that_is_not_there_is_refused_with_its_place(files: Any) -> None:
    with pytest.raises(SpecError, match=r"scenario.yaml:\d+: baseline: there is no directory .*/nowhere; name one"):
        files.load(scenario=files.scenario + "baseline: nowhere\n")
