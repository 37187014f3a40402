"""A dilated run: what it asks for and what it reports is in virtual time."""

import json
from collections.abc import Callable

import pytest
from observed import GOSSIP, FinishedRun

pytestmark = pytest.mark.measures

Run = Callable[..., FinishedRun]

FACTOR = 3


@pytest.fixture(scope="module")
def dilated(run: Run) -> FinishedRun:
    few = ("--set", "workload.count=8", "--set", "workload.arrivals.rate=1/s")
    faults = "{at: 1s, degrade: {link: a-s1, delay: 50ms}, for: 500ms}, {at: 1s, restart: d}"
    return run(GOSSIP, "--set", f"dilation={FACTOR}", *few, "--set", f"timeline=[{faults}]", "--set", "expect={}")


def test_it_plays_to_its_end_and_carries_its_factor(dilated: FinishedRun) -> None:
    assert dilated.exit_code == 0, dilated.output
    manifest = json.loads((dilated.path / "manifest.json").read_text())
    assert dilated.summary["dilation"] == manifest["dilation"] == FACTOR
    assert f"dilation: {FACTOR}" in (dilated.path / "scenario.yaml").read_text()


def test_its_links_are_measured_as_they_were_asked(dilated: FinishedRun) -> None:
    for link in dilated.summary["fidelity"]["links"].values():
        assert link["up"]["asked"]["delay"] == pytest.approx(0.01, abs=0.0001)
        # A link that was not dilated would have a third of the delay and three times the rate.
        assert 0.0095 <= link["up"]["before"]["delay"] < 0.02
        assert 5e6 < link["down"]["before"]["rate"] <= 10.5e6


def test_play_took_as_much_longer_than_it_says(dilated: FinishedRun) -> None:
    answers, arrivals = dilated.times("answer", "prompt"), dilated.times("arrival", "prompt")
    # Play ends with the last answer. The host may record more after it: the restarted node is ready seconds later.
    assert dilated.summary["stages"]["play"]["seconds"] >= FACTOR * max(answers.values())
    assert min(answers[prompt] - arrivals[prompt] for prompt in answers) >= 0.040, "a neighbour is 20 ms away"


def test_its_timeline_goes_by_its_clock(dilated: FinishedRun) -> None:
    fault, _ = dilated.summary["faults"]
    assert fault["asked"] == 1.0
    assert 1.0 <= fault["began"] < fault["ended"]
    first, last = (event for event in dilated.events if event["event"] == "link")
    assert (first["up"]["delay"], last["up"]["delay"]) == (0.05, 0.01)


def test_a_node_that_is_away_for_less_than_a_sample_is_known_to_have_ended(dilated: FinishedRun) -> None:
    ended = [event["who"] for event in dilated.events if event["event"] == "exited"]
    assert ended == ["d"]
