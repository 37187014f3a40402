"""Playing a timeline: when faults begin and end, and that nothing is left of them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.analysis.board import NodeBoard
from testbed.analysis.faults import fault_records
from testbed.core.clock import REAL_TIME, Clock
from testbed.core.errors import SpecError
from testbed.run.playing.player import Timeline


@dataclass
class Links:
    """Notes what they were changed to; those in ``broken`` cannot be changed."""

    changes: list[tuple[str, Any]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def change(self, name: str, said: Any) -> None:
        if name in self.broken:
            raise SpecError.of(name, "it is broken")
        self.changes.append((name, said))


@dataclass
class Recording:
    """The boards, and the events that the timeline notes."""

    boards: dict[str, NodeBoard]
    clock: Clock
    zero: float = field(init=False)
    events: list[dict[str, Any]] = field(default_factory=list)
    looks: int = 0

    def __post_init__(self) -> None:
        self.zero = self.clock.now()

    def emit(self, event: str, **fields: Any) -> None:
        self.events.append({"t": self.clock.now() - self.zero, "event": event, **fields})

    def catch_up(self) -> None:
        self.looks += 1

    def order(self) -> list[str]:
        return [f"{event['name']} {event['event'].removeprefix('fault_')}" for event in self.events]


@dataclass
class Play:
    """A timeline with what it plays on."""

    entries: Any
    links: Links
    recording: Recording
    timeline: Timeline

    async def until_quiet(self) -> None:
        """Play to the end of every fault, then end play."""
        await self.timeline.play()
        await self.timeline.end()


@pytest.fixture
def make(files: Any) -> Callable[..., Play]:
    def make_play(*entries: str, clock: Clock = REAL_TIME) -> Play:
        text = files.scenario + "timeline:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)
        scenario = files.load(scenario=text)
        recording, links = Recording({"a": NodeBoard(), "b": NodeBoard()}, clock), Links()
        original = {link.name: link for link in scenario.topology.resolved_links}
        world: Any = SimpleNamespace(
            plan=SimpleNamespace(scenario=scenario),
            clock=clock,
            original_link=original.__getitem__,
            change_link=links.change,
        )
        return Play(scenario.timeline, links, recording, Timeline(world, recording))  # type: ignore[arg-type]

    return make_play


CUT = {"cut": True}
WHOLE = {"cut": False}


def test_a_fault_begins_in_its_time_and_is_undone_after_it(make: Callable[..., Play]) -> None:
    play = make("at: 20ms, cut: a-s1, for: 20ms", "at: 30ms, cut: b-s1, for: 30ms")
    asyncio.run(play.until_quiet())
    assert play.links.changes == [
        ("a-s1", {"up": CUT, "down": CUT}),
        ("b-s1", {"up": CUT, "down": CUT}),
        ("a-s1", {"up": WHOLE, "down": WHOLE}),
        ("b-s1", {"up": WHOLE, "down": WHOLE}),
    ]
    assert play.recording.order() == ["cut-1 begin", "cut-2 begin", "cut-1 end", "cut-2 end"]
    begin, end = (event for event in play.recording.events if event["name"] == "cut-1")
    assert (begin["asked"], end["asked"]) == (0.02, 0.04)
    assert begin["t"] >= 0.02
    assert end["t"] >= 0.04


def test_in_a_dilated_run_faults_come_by_its_clock(make: Callable[..., Play]) -> None:
    clock = Clock(10)
    play = make("at: 2ms, cut: a-s1, for: 4ms", clock=clock)
    real = time.monotonic()
    clock.run(play.until_quiet())
    begin, end = play.recording.events
    assert (begin["asked"], end["asked"]) == (0.002, 0.006)
    assert begin["t"] >= 0.002
    assert end["t"] >= 0.006
    assert time.monotonic() - real >= 10 * 0.006


def test_of_two_cuts_of_one_link_the_last_end_counts(make: Callable[..., Play]) -> None:
    play = make("at: 10ms, cut: a-s1, for: 20ms", "at: 20ms, cut: {link: a-s1, way: up}, for: 40ms")
    asyncio.run(play.until_quiet())
    assert play.links.changes == [
        ("a-s1", {"up": CUT, "down": CUT}),
        ("a-s1", {"up": {}, "down": WHOLE}),
        ("a-s1", {"up": WHOLE, "down": {}}),
    ]


def test_a_flapping_link_is_cut_again_and_again_and_whole_at_the_end(make: Callable[..., Play]) -> None:
    play = make("at: 0s, flap: {link: a-s1, cut: 10ms, every: 20ms}, for: 50ms")
    asyncio.run(play.until_quiet())
    assert [said["up"]["cut"] for _, said in play.links.changes] == [True, False] * 3


TRIGGERS: dict[str, Callable[[NodeBoard], NodeBoard]] = {
    "after: {prompts: 2}": lambda board: replace(board, answered=board.answered + 1),
    "after: {prompts: 3, node: a}": lambda board: replace(board, failed=board.failed + 1),
    "after: {tokens: 40, node: a}": lambda board: replace(board, tokens=board.tokens + 15),
    'when: {node: a, queue: "> 3"}': lambda board: replace(board, queue=board.queue + 1),
    "in: {layer: 2}": lambda board: replace(board, layer=board.layer + 1),
}


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_fires_when_what_it_waits_for_has_come_and_not_before(
    make: Callable[..., Play], trigger: str
) -> None:
    play = make(f"{trigger}, cut: a-s1")

    async def advance() -> None:
        playing = asyncio.create_task(play.timeline.play())
        (awaited,) = play.entries[0].triggers.values()
        boards = play.recording.boards
        while not awaited.met(boards):
            looked = play.recording.looks
            while play.recording.looks < looked + 2:
                await asyncio.sleep(0)
            assert play.links.changes == []
            boards["a"] = TRIGGERS[trigger](boards["a"])
        while not play.links.changes:
            await asyncio.sleep(0)
        playing.cancel()

    asyncio.run(asyncio.wait_for(advance(), 60))


def test_what_is_left_at_the_end_of_play_is_undone_and_what_never_came_is_told(make: Callable[..., Play]) -> None:
    play = make("at: 0s, cut: a-s1", "at: 0s, degrade: {link: b-s1, delay: 1s}", "after: {prompts: 6}, cut: b-s1")

    async def interrupted() -> None:
        playing = asyncio.create_task(play.timeline.play())
        while len(play.timeline.active) < 2:
            await asyncio.sleep(0)
        playing.cancel()
        await play.timeline.end()

    asyncio.run(interrupted())
    assert play.links.changes[2:] == [
        ("a-s1", {"up": WHOLE, "down": WHOLE}),
        ("b-s1", {"up": {"delay": 0.01}, "down": {"delay": 0.01}}),
    ]
    first, second, third = fault_records(play.entries, play.recording.events)
    assert None not in (first.began, first.ended, second.began, second.ended)
    assert (third.name, third.began, third.awaited) == ("cut-2", None, "after: prompts 6")


def test_healing_ends_a_fault_by_its_name(make: Callable[..., Play]) -> None:
    play = make("at: 0s, name: split, cut: a-s1", "at: 20ms, heal: split")
    asyncio.run(asyncio.wait_for(play.until_quiet(), 60))
    assert sorted(play.recording.order()) == ["heal-1 begin", "split begin", "split end"]
    assert [said["up"] for _, said in play.links.changes] == [CUT, WHOLE]


def test_a_fault_that_cannot_be_carried_out_says_why_and_the_others_go_on(make: Callable[..., Play]) -> None:
    play = make("at: 0s, cut: a-s1", "at: 10ms, cut: b-s1, for: 10ms")
    play.links.broken.add("a-s1")
    asyncio.run(play.until_quiet())
    broken, whole = fault_records(play.entries, play.recording.events)
    assert (broken.began, broken.failure) == (None, "a-s1: it is broken")
    assert whole.ended is not None


def test_a_fault_that_cannot_be_undone_says_so_and_play_goes_on(make: Callable[..., Play]) -> None:
    play = make("at: 0s, cut: a-s1", "at: 0s, cut: b-s1")

    async def broken_meanwhile() -> None:
        playing = asyncio.create_task(play.timeline.play())
        while len(play.timeline.active) < 2:
            await asyncio.sleep(0)
        play.links.broken.add("a-s1")
        playing.cancel()
        await play.timeline.end()

    asyncio.run(broken_meanwhile())
    stuck, undone = fault_records(play.entries, play.recording.events)
    assert stuck.failure == "a-s1: it is broken"
    assert undone.failure is None
    assert play.links.changes[-1] == ("b-s1", {"up": WHOLE, "down": WHOLE})


def test_what_was_about_to_begin_when_play_ended_is_undone(make: Callable[..., Play]) -> None:
    play = make("at: 0s, cut: a-s1")

    async def ended_at_once() -> None:
        playing = asyncio.create_task(play.timeline.play())
        while not play.links.changes:
            await asyncio.sleep(0)
        playing.cancel()
        await play.timeline.end()

    asyncio.run(ended_at_once())
    assert [said["up"] for _, said in play.links.changes] == [CUT, WHOLE]
