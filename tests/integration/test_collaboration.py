"""Nodes that answer together, on real containers, links and models."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from observed import PROJECT, FinishedRun
from recounted import differing

from testbed.analysis.routing.examples import examples
from testbed.analysis.routing.fitting import fit

Run = Callable[..., FinishedRun]

PROMPTS = 8
FAST = ("--fidelity", "off", "--set", f"workload.count={PROMPTS}", "--set", "workload.arrivals.rate=2/s")
PATIENT = ("--set", "pattern.timeout=5min", "--set", 'expect={completed: ">= 1"}')


@pytest.fixture(scope="module")
def debate(run: Run) -> FinishedRun:
    return run(PROJECT / "scenarios" / "debate.yaml", *FAST, *PATIENT, "--set", "pattern.stop=null")


def test_a_debate_costs_n_times_r_plus_1_inferences_and_two_messages_for_each_of_the_others(
    debate: FinishedRun,
) -> None:
    assert debate.exit_code == 0, debate.output
    assert debate.summary["invariants"] == []
    sent = [event["message"] for event in debate.events if event["event"] == "send"]
    assert Counter(message.partition(".")[0] for message in set(sent)) == {f"p{n}": 12 for n in range(1, PROMPTS + 1)}
    assert [len(jobs) for jobs in debate.jobs_by_prompt().values()] == [8] * PROMPTS


def _ends(run: FinishedRun, layer: int) -> list[tuple[str, dict[str, Any]]]:
    """The prompts and ends of the calls of a layer."""
    asked = {event["job"]: event for event in run.events if event["event"] == "enqueue"}
    ends = [event for event in run.events if event["event"] == "end"]
    return [(asked[end["job"]]["prompt"], end) for end in ends if asked[end["job"]]["layer"] == str(layer)]


def test_the_second_round_reads_the_first_and_votes(debate: FinishedRun) -> None:
    """Each answer has the largest weight of the last round's opinions: sure 6, maybe 2, unsure 1."""
    weights = {"sure": 6, "maybe": 2, "unsure": 1}
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for prompt, end in _ends(debate, 2):
        choice, _, word = end["text"].partition(",")
        sums[prompt][choice.strip()] += weights.get(word.strip(), 1)
    answers = {event["prompt"]: event["text"] for event in debate.events if event["event"] == "answer"}
    assert len(answers) == PROMPTS
    for prompt, text in answers.items():
        assert sums[prompt][text.partition(",")[0].strip()] == max(sums[prompt].values())
    read, alone = ([end["prompt_tokens"] for _, end in _ends(debate, layer)] for layer in (2, 1))
    assert min(read) > max(alone)


def test_each_number_of_the_summary_follows_from_the_events(debate: FinishedRun) -> None:
    assert debate.summary["metrics"]["oracle"] >= debate.summary["metrics"]["accuracy"]
    assert differing(debate.path) == {}


def test_a_route_learns_from_feedback_and_its_run_fits_a_router(run: Run) -> None:
    scenario = PROJECT / "scenarios" / "learned_route.yaml"
    options = ("--set", "workload.count=24", "--set", "workload.arrivals.rate=4/s", "--set", "pattern.policy=all")
    learned = run(scenario, *FAST, *PATIENT, *options)
    assert learned.exit_code == 0, learned.output
    told = {event["prompt"]: event["reward"] for event in learned.events if event["event"] == "feedback"}
    assert told == {event["prompt"]: event["value"] for event in learned.events if event["event"] == "score"}
    decisions = [event for event in learned.events if event["event"] == "decision"]
    assert {round(event["propensity"], 6) for event in decisions} <= {0.975, 0.025}  # explore: 0.05, by two stages
    assert len(decisions) == len(told) == 24
    known = examples([learned.path])
    texts = {event["text"] for event in learned.events if event["event"] == "prompt"}
    assert {one.text for one in known} == texts
    router = fit(known, "prompt", 0)
    gains = sum(one.gain for one in known)
    assert sum(router.score(one.text) > 0.5 for one in known) == pytest.approx(gains, abs=4)
