"""Verdicts, exit codes, and what summary.json and junit.xml make of them."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from testbed.analysis.junit import write_junit
from testbed.analysis.measurements import Measurements
from testbed.analysis.summary import StageTime, Summary
from testbed.analysis.verdict.fidelity import Fidelity, Flaw
from testbed.patterns.base import Pattern
from testbed.patterns.participant import Participant, Prompt
from testbed.record.directory import RunDirectory
from testbed.schema.expectation import Expectation
from testbed.schema.scenario import Scenario
from testbed.show.terminal import print_summary

BROKEN = Fidelity("quick", [Flaw("invalid", "the relay of the links ended")], links={})
DISTORTED = Fidelity("quick", [Flaw("distorted", "the nodes may use more CPU together than the host has")], links={})


class Silent(Pattern):
    """Says nothing of its calls, which the events of these runs leave out."""

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        raise NotImplementedError


def _measurements(answered: bool) -> Measurements:
    """One prompt, answered or failed after half a second."""
    events: list[dict[str, Any]] = [
        {"t": 1.0, "node": "", "event": "prompt", "prompt": "p1", "owner": "a", "text": "?", "truth": "Rome"},
        {"t": 1.0, "node": "a", "event": "arrival", "prompt": "p1"},
        {"t": 1.0, "node": "a", "event": "enqueue", "job": "p1.1@a", "prompt": "p1", "owner": "a", "layer": "1"},
        {"t": 1.0, "node": "a", "event": "start", "job": "p1.1@a"},
        {"t": 1.5, "node": "a", "event": "end", "job": "p1.1@a", "tokens": 3, "prompt_tokens": 9, "text": "Rome, sure"},
    ]
    end = {"event": "answer", "text": "Rome, sure"} if answered else {"event": "failed", "reason": "too long"}
    events.append({"t": 1.5, "node": "a", "prompt": "p1", **end})
    if answered:
        events.append({"t": 1.5, "node": "", "event": "score", "prompt": "p1", "scorer": "exact", "value": 1.0})
    return Measurements(events, {"a": 1000})


@pytest.fixture
def scenario(files: Any) -> Scenario:
    """Each prompt takes one call, to its owner."""
    loaded: Scenario = files.load("pattern.layers=0")
    return loaded


@pytest.fixture
def make_summary(scenario: Scenario, tmp_path: Path) -> Callable[..., Summary]:
    scenario = scenario.model_copy(update={"pattern": Silent(kind="silent")})

    def make(answered: bool = True, **changes: Any) -> Summary:
        measurements = _measurements(answered)
        stages = {"build": StageTime(1.5, {"starting containers": 1.0}), "play": StageTime(2.25)}
        summary = Summary(scenario, "abc123", tmp_path, measurements, Fidelity(), stages)
        return replace(summary, **changes)

    return make


@pytest.mark.parametrize(
    ("answered", "fidelity", "interrupted", "verdict", "exit_code"),
    [
        (True, Fidelity(), False, "passed", 0),
        (True, DISTORTED, False, "passed", 0),
        (False, Fidelity(), False, "failed", 1),
        (True, BROKEN, False, "invalid", 4),
        (False, BROKEN, False, "invalid", 4),
        (True, Fidelity(), True, "interrupted", 130),
        (False, BROKEN, True, "interrupted", 130),
    ],
)
def test_verdict_and_exit_code(
    make_summary: Callable[..., Summary],
    answered: bool,
    fidelity: Fidelity,
    interrupted: bool,
    verdict: str,
    exit_code: int,
) -> None:
    summary = make_summary(answered, fidelity=fidelity, cut_off="interrupted" if interrupted else "")
    assert (summary.verdict, summary.exit_code) == (verdict, exit_code)


def test_a_run_of_which_nothing_is_expected_passes(make_summary: Callable[..., Summary], scenario: Scenario) -> None:
    assert make_summary(False, scenario=scenario.model_copy(update={"expect": []})).verdict == "passed"


def test_judgements_say_what_was_expected_and_what_was(make_summary: Callable[..., Summary]) -> None:
    assert [str(judgement) for judgement in make_summary(False).judgements] == [
        "completed: expected >= 0.95, was 0 %",
        "latency.p95: expected < 15s, was nothing to measure",
    ]


def test_the_summary_is_json_with_the_promised_parts(make_summary: Callable[..., Summary], tmp_path: Path) -> None:
    RunDirectory(tmp_path).write_summary(make_summary(fidelity=DISTORTED))
    content = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert {"verdict", "fidelity", "metrics", "expectations", "nodes", "links"} <= set(content)
    assert content["verdict"] == "passed"
    assert content["fidelity"]["reasons"] == DISTORTED.reasons
    assert content["metrics"]["latency.mean"] == 0.5
    low, high = content["metrics"]["accuracy.interval"]
    assert 0 < low < 1 == high
    assert content["expectations"][1] == {
        "metric": "latency.p95",
        "window": None,
        "node": None,
        "expected": "< 15s",
        "value": 0.5,
        "held": True,
        "unit": "s",
    }
    assert (tmp_path / "junit.xml").exists()


def _suites(summaries: list[Summary], path: Path) -> list[ElementTree.Element]:
    write_junit(summaries, path)
    root = ElementTree.parse(path).getroot()
    assert root.tag == "testsuites"
    return root.findall("testsuite")


def _failures(suite: ElementTree.Element) -> dict[str | None, str | None]:
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases))
    failures = {case.get("name"): node.get("message") for case in cases for node in case.findall("failure")}
    assert suite.get("failures") == str(len(failures))
    return failures


def test_junit_has_a_case_for_each_expectation_and_for_the_emulation(
    make_summary: Callable[..., Summary], tmp_path: Path
) -> None:
    (suite,) = _suites([make_summary()], tmp_path / "junit.xml")
    assert (suite.get("name"), suite.get("time")) == ("small", "3.750")
    assert [case.get("name") for case in suite] == ["completed", "latency.p95", "invariants", "emulation"]
    assert _failures(suite) == {}


def test_junit_cases_are_told_apart_by_class_name_and_name_in_every_run(
    make_summary: Callable[..., Summary], scenario: Scenario, tmp_path: Path
) -> None:
    bounds = [{"latency.p95": "< 15s"}, {"latency.p95": "> 1ms", "completed": ">= 0.5"}]
    asked = scenario.model_copy(update={"expect": [Expectation.model_validate(bound) for bound in bounds]})
    runs = [make_summary(scenario=asked.model_copy(update={"seed": seed})) for seed in (1, 2, 2)]

    def cases() -> list[tuple[str | None, str | None]]:
        found = _suites(runs, tmp_path / "junit.xml")
        return [(case.get("classname"), case.get("name")) for suite in found for case in suite]

    assert len(set(cases())) == len(cases()) == 15
    assert cases() == cases()
    assert cases()[:3] == [("small.seed-1", name) for name in ("latency.p95", "completed", "latency.p95 #2")]


def test_junit_says_what_failed(make_summary: Callable[..., Summary], tmp_path: Path) -> None:
    failed, invalid = _suites([make_summary(False), make_summary(fidelity=BROKEN)], tmp_path / "junit.xml")
    assert _failures(failed) == {
        "completed": "completed: expected >= 0.95, was 0 %",
        "latency.p95": "latency.p95: expected < 15s, was nothing to measure",
    }
    assert _failures(invalid) == {"emulation": BROKEN.reasons[0]}


def test_what_holds_of_every_run_is_checked_without_being_asked(
    make_summary: Callable[..., Summary], scenario: Scenario, tmp_path: Path
) -> None:
    undemanding = scenario.model_copy(update={"expect": []})
    events = [event for event in _measurements(True).events if event["event"] != "answer"]
    summary = make_summary(scenario=undemanding, measurements=Measurements(events, {}))
    sentence = "prompt p1 of a did not end"
    assert (summary.verdict, summary.broken, summary.reasons) == ("failed", [sentence], [sentence])
    assert summary.as_dict()["invariants"] == [sentence]
    (suite,) = _suites([summary], tmp_path / "junit.xml")
    assert _failures(suite) == {"invariants": sentence}
    console = Console(file=io.StringIO(), width=80)
    print_summary(summary, console)
    assert f"  ✗ {sentence}" in console.file.getvalue().splitlines()


@pytest.mark.parametrize("fidelity", [Fidelity(), DISTORTED, BROKEN], ids=lambda fidelity: fidelity.verdict)
@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("interrupted", [True, False])
def test_junit_is_green_exactly_when_the_run_passed(
    make_summary: Callable[..., Summary], tmp_path: Path, fidelity: Fidelity, answered: bool, interrupted: bool
) -> None:
    summary = make_summary(answered, fidelity=fidelity, cut_off="interrupted" if interrupted else "")
    (suite,) = _suites([summary], tmp_path / "junit.xml")
    assert (not _failures(suite)) == (summary.exit_code == 0)


@pytest.mark.parametrize(
    ("fidelity", "lines"),
    [
        (Fidelity(), ["  emulation unmeasured"]),
        (
            Fidelity("quick", links={"a-s1": {}, "b-s1": {}}, host={"idle": 0.9}),
            ["  emulation valid (2 links measured, host 90% idle)"],
        ),
        (DISTORTED, ["  emulation distorted", "    the nodes may use more CPU together than the host has"]),
    ],
)
def test_the_terminal_shows_fidelity_beside_the_verdict(
    make_summary: Callable[..., Summary], fidelity: Fidelity, lines: list[str]
) -> None:
    console = Console(file=io.StringIO(), width=80)
    print_summary(make_summary(fidelity=fidelity), console)
    shown = console.file.getvalue().splitlines()
    assert shown[0] == "small passed"
    begin = shown.index(lines[0])
    assert shown[begin : begin + len(lines)] == lines


def test_a_run_of_which_nothing_was_expected_has_finished_and_says_what_has_no_answer(
    make_summary: Callable[..., Summary],
) -> None:
    summary = make_summary(answered=False)
    free = replace(summary, scenario=summary.scenario.model_copy(update={"expect": []}))
    console = Console(file=io.StringIO(), width=80)
    print_summary(free, console)
    shown = console.file.getvalue()
    assert (free.verdict, free.outcome) == ("passed", "finished, nothing expected")
    assert shown.splitlines()[0] == "small finished, nothing expected"
    assert "no answer: " in shown
    assert replace(free, fidelity=BROKEN).outcome == "invalid"


def test_the_terminal_says_why_answers_were_not_judged(make_summary: Callable[..., Summary]) -> None:
    events = [
        event | {"value": None, "reason": "ValueError: no network"} if event["event"] == "score" else event
        for event in _measurements(True).events
    ]
    console = Console(file=io.StringIO(), width=80)
    summary = make_summary(measurements=Measurements(events, {}))
    print_summary(summary, console)
    assert "  answers without a score: 1 (ValueError: no network)" in console.file.getvalue().splitlines()
    assert (summary.metrics["accuracy"], summary.as_dict()["judged"]) == (None, 0)
