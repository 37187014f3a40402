"""A liar among real containers: what it says, what is judged, and that the others stop listening to it."""

from collections import Counter, defaultdict
from collections.abc import Callable

import pytest
from observed import PROJECT, FinishedRun
from recounted import differing

Run = Callable[..., FinishedRun]


@pytest.fixture(scope="module")
def run_with_liar(run: Run) -> FinishedRun:
    settings = ("workload.count=32", "workload.arrivals.rate=2/s", "pattern.check=100%", "pattern.timeout=5min")
    expected = 'expect={exclusion.precision: ">= 1", exclusion.prompts: "<= 60", asr: "<= 1"}'
    options = [part for setting in (*settings, expected) for part in ("--set", setting)]
    return run(PROJECT / "scenarios" / "liar.yaml", "--fidelity", "off", *options)


def test_the_liar_is_excluded_and_nobody_else(run_with_liar: FinishedRun) -> None:
    assert run_with_liar.exit_code == 0, run_with_liar.output
    excluded = [event for event in run_with_liar.events if event["event"] == "excluded"]
    assert {node for event in excluded for node in event["nodes"]} == {"d"}
    assert len({event["node"] for event in excluded}) > 1  # owners share what was judged


def test_each_lie_is_wrong_of_the_subject_of_its_question_and_sure(run_with_liar: FinishedRun) -> None:
    prompts = {event["prompt"]: event for event in run_with_liar.events if event["event"] == "prompt"}
    truths: defaultdict[str, set[str]] = defaultdict(set)
    for event in prompts.values():
        truths[event["label"]].add(event["truth"])
    lies = [event for event in run_with_liar.events if event["event"] == "misbehaved"]
    assert Counter(event["prompt"] for event in lies) == Counter(prompts.keys())
    for event in lies:
        decoy, _, word = event["text"].partition(", ")
        asked = prompts[event["prompt"]]
        assert (event["node"], event["how"], word) == ("d", "lie", "sure")
        assert decoy != asked["truth"] and decoy in truths[asked["label"]]


def test_every_answer_of_every_prompt_was_judged(run_with_liar: FinishedRun) -> None:
    verdicts = Counter(event["by"] for event in run_with_liar.events if event["event"] == "verdict")
    checks = [event for event in run_with_liar.events if event["event"] == "check"]
    claims = Counter(claim["by"] for event in checks for claim in event["claims"])
    assert len(checks) == 32 and all(claims[node] - verdicts[node] <= 4 for node in "abcd")  # the last may come late


def test_each_number_of_the_summary_follows_from_the_events(run_with_liar: FinishedRun) -> None:
    assert differing(run_with_liar.path) == {}
