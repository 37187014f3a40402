"""Shrinking a timeline, with runs that break as a test wants them to."""

import random
from collections.abc import Callable

import pytest

from testbed.run.shrinking import Timeline, shrink
from testbed.schema.timeline.entries import Entry

PLENTY = 1000


def _timeline(length: int, lasts: str = "4s") -> Timeline:
    return [
        Entry.model_validate({"name": f"cut-{number}", "at": f"{number}s", "for": lasts, "cut": "a-s1"})
        for number in range(length)
    ]


class Runs:
    """Breaks where ``guilty`` says so, and keeps what it was asked."""

    def __init__(self, guilty: Callable[[Timeline], bool]) -> None:
        self._guilty = guilty
        self.asked: list[Timeline] = []

    def __call__(self, timeline: Timeline) -> bool:
        assert timeline not in self.asked, "a run for nothing"
        self.asked.append(timeline)
        return self._guilty(timeline)


@pytest.mark.parametrize("seed", range(30))
def test_what_takes_several_faults_together_is_found_wherever_they_are(seed: int) -> None:
    chance = random.Random(seed)
    timeline = _timeline(chance.randint(1, 12))
    guilty = {entry.label for entry in chance.sample(timeline, chance.randint(1, min(3, len(timeline))))}
    runs = Runs(lambda candidate: guilty <= {entry.label for entry in candidate})
    smallest = shrink(timeline, runs, PLENTY)
    assert {entry.label for entry in smallest} == guilty
    assert [entry.at for entry in smallest] == sorted(entry.at or 0 for entry in smallest)


def test_faults_are_made_as_short_as_they_still_break_each_by_itself() -> None:
    timeline = _timeline(2)
    least = {"cut-0": 0.9, "cut-1": 0.0}

    def guilty(candidate: Timeline) -> bool:
        return len(candidate) == 2 and all((entry.lasts or 0) >= least[entry.label] for entry in candidate)

    assert [entry.lasts for entry in shrink(timeline, Runs(guilty), PLENTY)] == [1.0, 0.125]


def test_what_needs_no_fault_is_found_at_once() -> None:
    runs = Runs(lambda _: True)
    assert shrink(_timeline(8), runs, PLENTY) == []
    assert runs.asked == [[]]


def test_a_fault_that_ends_with_play_stays_as_long() -> None:
    (entry,) = timeline = [Entry.model_validate({"name": "kill-1", "at": "1s", "kill": "a"})]
    assert shrink(timeline, Runs(lambda candidate: entry in candidate), PLENTY) == timeline


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_runs_say_the_result_breaks_and_no_entry_of_it_can_be_left_out(seed: int) -> None:
    """Failures that come and go as faults are left out: each timeline has an answer of its own."""
    timeline = _timeline(6, "150ms")
    runs = Runs(lambda candidate: random.Random(f"{seed} {candidate}").random() < 0.4)
    smallest = shrink(timeline, runs, PLENTY)
    assert smallest == timeline or runs._guilty(smallest)
    for left_out in smallest:
        assert not runs._guilty([entry for entry in smallest if entry != left_out])


@pytest.mark.parametrize("most", [0, 1, 2, 5, 10, 20])
def test_it_ends_after_so_many_runs_with_the_smallest_that_it_knows(most: int) -> None:
    runs = Runs(lambda candidate: len(candidate) >= 3)
    timeline = _timeline(16)
    smallest = shrink(timeline, runs, most)
    assert len(runs.asked) == min(most, len(runs.asked))
    assert smallest == min((one for one in [timeline, *runs.asked] if len(one) >= 3), key=_size)


def _size(timeline: Timeline) -> tuple[int, float]:
    return len(timeline), sum(entry.lasts or 0 for entry in timeline)
