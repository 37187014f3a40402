"""Chaos, with runs that are not played but break as a test wants them to."""

import html
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_host import FakeHost

from testbed.core.errors import SpecError
from testbed.record.directory import RunDirectory
from testbed.run import chaos, runner
from testbed.run.chaos import Chaos
from testbed.schema.expectation import Expectation
from testbed.schema.scenario import Scenario, load_scenario


@dataclass
class Host(FakeHost):
    """``broken`` says what a run breaks, ``left`` what it leaves behind."""

    broken: Callable[[Scenario], list[str]] = lambda _: []
    left: Callable[[Scenario], list[str]] = lambda _: []
    verdict: Callable[[Scenario], str] = lambda _: "passed"

    def end(self, scenario: Scenario, directory: RunDirectory) -> Any:
        assert scenario == scenario.drawn()
        verdict = self.verdict(scenario)
        return SimpleNamespace(
            run="r",
            directory=directory.path,
            verdict=verdict,
            interrupted=verdict == "interrupted",
            broken=self.broken(scenario),
            reasons=["the links ended"],
        )

    def now(self) -> "Host":
        return self

    def leaks(self, run: str) -> list[str]:
        assert run == "r"
        return self.left(self.played[-1])


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(runner, "run", host.run)
    monkeypatch.setattr(chaos, "Possessions", host)
    return host


RANDOM = "timeline:\n  - random: {rate: 5/s}\n"
Play = Callable[..., Chaos]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def play(files: Any, tmp_path: Path, told: list[str]) -> Play:
    def play(runs: int, timeline: str = RANDOM) -> Chaos:
        scenario = files.load("workload.count=40", scenario=files.scenario + timeline)
        options = runner.Options(tmp_path / "out")
        played = Chaos(scenario, options, lambda *_: nullcontext(), told.append)  # type: ignore[arg-type,return-value]
        played.play(runs)
        return played

    return play


def _kinds(scenario: Scenario) -> list[str]:
    return [entry.kind for entry in scenario.timeline]


def test_every_run_has_a_seed_and_a_timeline_of_its_own_and_only_the_page_tells_of_those_that_break_nothing(
    host: Host, play: Play, told: list[str], tmp_path: Path
) -> None:
    played = play(3)
    assert [scenario.seed for scenario in host.played] == [3, 4, 5]
    assert len({str(scenario.timeline) for scenario in host.played}) == 3
    assert (played.exit_code, played.breach) == (0, None)
    assert told == ["seed-3: nothing broken", "seed-4: nothing broken", "seed-5: nothing broken"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["chaos.html"]
    page = (tmp_path / "out" / "chaos.html").read_text(encoding="utf-8")
    drawn = [entry.sentence for scenario in host.played for entry in scenario.timeline]
    assert all(html.escape(sentence) in page for sentence in drawn)
    assert page.count("nothing broken") == 3


@pytest.mark.parametrize("timeline", ["", "timeline: [{at: 1s, name: mine, cut: a-s1}]\n"])
def test_a_scenario_that_draws_nothing_gets_a_few_faults_of_all_kinds(host: Host, play: Play, timeline: str) -> None:
    play(30, timeline)
    fixed = 1 if timeline else 0
    drawn = [_kinds(scenario)[fixed:] for scenario in host.played]
    assert 3 < sum(map(len, drawn)) / 30 < 5
    assert all(scenario.timeline[0].name == "mine" for scenario in host.played if fixed)


def test_the_first_breach_ends_it_with_the_smallest_timeline_that_breaks(
    host: Host, play: Play, tmp_path: Path
) -> None:
    def broken(scenario: Scenario) -> list[str]:
        both = {"kill", "cut"} <= set(_kinds(scenario)) and scenario.seed >= 6
        return [f"{len(scenario.timeline)} faults broke it"] if both else []

    host.broken = broken
    played = play(20)
    assert played.breach is not None
    assert played.exit_code == 1
    assert played.played == 4
    assert host.played[3].seed == host.played[-1].seed == 6
    assert played.breach.broken == ["2 faults broke it"]
    smallest = load_scenario(played.breach.path)
    assert sorted(_kinds(smallest)) == ["cut", "kill"]
    assert smallest.seed == 6
    assert smallest.expectations == [Expectation()], "else it might fail for another reason"
    assert broken(smallest)
    kept = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"seed-6", "smallest.yaml"} <= kept
    assert all(broken(load_scenario(path)) for path in (tmp_path / "out").glob("*/scenario.yaml"))
    assert json.loads(json.dumps(played.as_dict()))["breach"]["smallest"] == str(played.breach.path)


def test_no_timeline_is_tried_that_validate_would_refuse(host: Host, play: Play) -> None:
    """The restart must stay: without it, what happens to the node afterwards cannot be."""
    host.broken = lambda scenario: ["broken"] if "pause" in _kinds(scenario) else []
    played = play(1, "timeline:\n  - {at: 1s, kill: a}\n  - {at: 2s, restart: a}\n  - {at: 3s, pause: a, for: 100ms}\n")
    assert played.breach is not None
    assert _kinds(played.breach.scenario) == ["pause"]
    assert ["kill", "pause"] not in map(_kinds, host.played)


def test_a_leak_is_a_breach(host: Host, play: Play) -> None:
    host.left = lambda scenario: ["the container tb-r-a was left behind"] if scenario.seed == 4 else []
    played = play(5)
    assert played.breach is not None
    assert played.breach.broken == ["the container tb-r-a was left behind"]
    assert played.breach.scenario.timeline == []


def test_an_invalid_run_breaks_nothing_and_is_kept(host: Host, play: Play, told: list[str], tmp_path: Path) -> None:
    host.broken = lambda _: ["a prompt did not end"]
    host.verdict = lambda _: "invalid"
    played = play(2)
    assert (played.exit_code, played.invalid, played.breach) == (4, 2, None)
    assert told[0] == "seed-3: invalid: the links ended"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"seed-3", "seed-4", "chaos.html"}


def test_an_expectation_that_fails_breaks_nothing(host: Host, play: Play) -> None:
    host.verdict = lambda _: "failed"
    assert play(2).exit_code == 0


def test_an_interrupted_run_ends_it(host: Host, play: Play) -> None:
    host.verdict = lambda scenario: "interrupted" if scenario.seed == 4 else "passed"
    with pytest.raises(KeyboardInterrupt):
        play(5)
    assert len(host.played) == 2


def test_a_directory_with_something_in_it_is_refused_before_anything_runs(
    host: Host, play: Play, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(SpecError, match="is not empty"):
        play(1)
    assert host.played == []
