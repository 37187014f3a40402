"""The schedule of a ring, played through a ring that is a list: what goes in comes out behind, in order."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from testbed.node.ring.scheduling import Batch, Schedule
from testbed.node.ring.wire.messages import Row


@dataclass
class Ring:
    """Stages that compute one batch each at a time. A sample's next token is its newest plus one.

    It checks what every stage relies on: the rows of a sample come in the order of their positions, without a gap.
    """

    schedule: Schedule
    stages: int
    cached: dict[int, list[int]] = field(default_factory=dict)
    within: deque[Batch | None] = field(default_factory=deque)
    sent: list[Batch] = field(default_factory=list)

    def step(self) -> Iterator[tuple[int, int]]:
        """Every stage passes on what it has; gives the samples and tokens that come home."""
        batch = self.schedule.next()
        if batch is not None:
            self.sent.append(batch)
            for row, token in zip(batch.rows, batch.tokens, strict=True):
                assert row.position == len(self.cached.setdefault(row.sample, []))
                self.cached[row.sample].append(token)
        self.within.append(batch)
        if len(self.within) < self.stages or (home := self.within.popleft()) is None:
            return
        drawn = [(row, token + 1) for row, token in zip(home.rows, home.tokens, strict=True) if row.draw]
        assert all(self.schedule.awaits(row) for row, _ in drawn)
        for sample, token in list(self.schedule.drawn(*zip(*drawn, strict=True))) if drawn else []:
            yield sample.number, token

    def lose(self) -> None:
        """All that is within is lost, and every cache with it."""
        self.within.clear()
        self.cached.clear()
        self.schedule.restart()


def _play(
    ring: Ring, prompts: Sequence[Sequence[int]], wanted: Sequence[int], losses: Sequence[int] = ()
) -> list[list[int]]:
    """Complete every prompt with so many tokens; a loss happens at each of these steps."""
    waiting = deque(range(len(prompts)))
    answers: list[list[int]] = [[] for _ in prompts]
    for step in range(10_000):
        while waiting and ring.schedule.room:
            ring.schedule.begin(waiting[0], prompts[waiting.popleft()])
        if step in losses:
            ring.lose()
        for number, token in ring.step():
            answers[number].append(token)
            if len(answers[number]) == wanted[number]:
                ring.schedule.end(number)
                ring.cached.pop(number)
        if all(len(answer) == count for answer, count in zip(answers, wanted, strict=True)):
            return answers
    raise AssertionError(f"samples hang: {answers}")


def _expected(prompts: Sequence[Sequence[int]], wanted: Sequence[int]) -> list[list[int]]:
    return [[prompt[-1] + 1 + i for i in range(count)] for prompt, count in zip(prompts, wanted, strict=True)]


@pytest.mark.parametrize("seed", range(40))
def test_every_sample_gets_its_tokens_whatever_the_schedule_and_whatever_is_lost(seed: int) -> None:
    draw = random.Random(seed)
    groups, batch, chunk, stages = (draw.randint(1, most) for most in (5, 4, 6, 4))
    prompts = [[draw.randrange(100) for _ in range(draw.randint(1, 20))] for _ in range(draw.randint(1, 30))]
    wanted = [draw.randint(1, 12) for _ in prompts]
    losses = draw.sample(range(60), draw.randint(0, 4))
    ring = Ring(Schedule(groups, batch, chunk), stages)
    assert _play(ring, prompts, wanted, losses) == _expected(prompts, wanted)
    assert not ring.cached
    assert max(len(batch.rows) for batch in ring.sent) <= max(batch, chunk)


def test_one_place_takes_one_sample_after_the_other() -> None:
    ring = Ring(Schedule(groups=1, batch=1, chunk=8), stages=3)
    _play(ring, [[1, 2], [3]], [3, 2])
    assert [row.sample for batch in ring.sent for row in batch.rows] == [0, 0, 0, 0, 1, 1]


def test_as_many_groups_as_stages_leave_no_stage_idle() -> None:
    ring = Ring(Schedule(groups=3, batch=1, chunk=8), stages=3)
    _play(ring, [[1], [2], [3]], [20, 20, 20])
    assert len(ring.sent) == 60  # one in every step
    assert [batch.rows[0].sample for batch in ring.sent[:6]] == [0, 1, 2, 0, 1, 2]


def test_samples_of_a_group_travel_in_one_batch_of_consecutive_places() -> None:
    schedule = Schedule(groups=2, batch=4, chunk=8)
    ring = Ring(schedule, stages=2)
    _play(ring, [[number] for number in range(8)], [30] * 8)
    assert [len(batch.rows) for batch in ring.sent[20:40]] == [4] * 20


def test_fewer_samples_than_places_are_spread_over_the_groups() -> None:
    schedule = Schedule(groups=4, batch=8, chunk=8)
    places = [schedule.begin(number, [1]).place for number in range(6)]
    assert places == [0, 8, 16, 24, 1, 9]


def test_a_prompt_goes_in_chunk_behind_chunk_and_is_drawn_from_at_its_end() -> None:
    schedule = Schedule(groups=1, batch=1, chunk=4)
    schedule.begin(7, range(10))
    chunks = [schedule.next() for _ in range(3)]
    assert schedule.next() is None
    assert [len(chunk.tokens) for chunk in chunks if chunk] == [4, 4, 2]
    drawn = [row for chunk in chunks if chunk for row in chunk.rows if row.draw]
    assert drawn == [Row(7, 9, True)]


def test_prompts_and_groups_take_turns() -> None:
    schedule = Schedule(groups=2, batch=1, chunk=1)
    schedule.begin(0, [1])
    schedule.next()
    schedule.begin(1, range(6))
    going = []
    for _ in range(3):
        list(schedule.drawn([Row(0, len(going), True)], [5]))
        batch, chunk = schedule.next(), schedule.next()
        assert batch
        assert chunk
        going.append({batch.rows[0].sample, chunk.rows[0].sample})
    assert going == [{0, 1}] * 3


def test_a_place_that_becomes_free_is_taken_while_its_group_is_away() -> None:
    schedule = Schedule(groups=1, batch=2, chunk=8)
    schedule.begin(0, [1])
    schedule.begin(1, [2])
    schedule.next(), schedule.next()
    list(schedule.drawn([Row(0, 0, True), Row(1, 0, True)], [5, 6]))
    assert not schedule.room
    schedule.next()
    schedule.end(1)
    assert schedule.begin(2, [3]).place == 1
    batch = schedule.next()
    assert batch
    assert batch.rows == [Row(2, 0, True)]


@pytest.mark.parametrize("row", [Row(0, 0, True), Row(0, 2, True), Row(1, 1, True)])
def test_a_token_that_is_not_due_is_not_awaited(row: Row) -> None:
    schedule = Schedule(groups=1, batch=1, chunk=8)
    schedule.begin(0, [1, 2])
    assert not schedule.awaits(Row(0, 1, True))
    schedule.next()
    assert schedule.awaits(Row(0, 1, True))
    assert not schedule.awaits(row)
