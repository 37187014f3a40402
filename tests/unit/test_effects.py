"""Effects compose: whatever begins and ends in whatever order, what holds is what the active ones say."""

import asyncio
import gc
import random
import threading
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from testbed.faults.effects import ActiveEffects, Effect
from testbed.faults.targets import Condition, LinkTarget, change_link, change_node, deafen
from testbed.schema.network.direction import Direction, Jitter
from testbed.schema.network.link import Link

ORIGINAL = Link("a", "b", up=Direction(bandwidth=1e6, delay=0.02), down=Direction(delay=0.03))
CONDITION = Condition(cpus=0.3, memory=1000)


@dataclass
class World:
    """Parts by name, each in the state that it was brought into last."""

    states: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A target that takes its time, and notices if it is not in the state that it is said to be in."""

    name: str
    start: Any

    def original(self, world: Any) -> Any:
        del world
        return self.start

    def apply(self, world: Any, before: Any, after: Any) -> None:
        assert world.states.get(self.name, self.start) == before
        world.states[self.name] = after


LINKS = [Part(f"link-{number}", ORIGINAL) for number in range(2)]
NODES = [Part(f"node-{number}", CONDITION) for number in range(2)]


def _random_effect(draw: random.Random) -> Effect[Any]:
    changes = [
        change_link("", {"up": {"cut": True}}),
        change_link("", {"up": {"cut": True}, "down": {"cut": True}}),
        change_link("", {"down": {"delay": draw.random()}}),
        change_link("", {"up": {"jitter": Jitter(draw.random() / 10)}, "down": {"bandwidth": 5e5}}),
        change_node("", running=False),
        change_node("", running=True),
        change_node("", paused=True),
        change_node("", hanging=True, cpus=draw.random()),
        change_node("", memory=draw.randrange(1000)),
        deafen("", frozenset(draw.sample("abc", 2))),
    ]
    chosen = draw.choice(changes)
    return replace(chosen, target=draw.choice(LINKS if isinstance(chosen.target, LinkTarget) else NODES))


def _expected(active: list[Effect[Any]], part: Part) -> Any:
    """The original with all active effects on it, in the order in which they began."""
    state = part.start
    for effect in active:
        if effect.target == part:
            state = effect.change(state)
    return state


@pytest.mark.parametrize("seed", range(60))
def test_any_interleaving_of_beginnings_and_ends(seed: int) -> None:
    draw = random.Random(seed)

    async def play() -> None:
        world, active = World(), list[Effect[Any]]()
        effects = ActiveEffects(world)  # type: ignore[arg-type]
        for _ in range(40):
            ending = draw.sample(active, draw.randint(0, min(2, len(active))))
            beginning = [_random_effect(draw) for _ in range(draw.randint(0, 2))]
            await effects.replace(ending, beginning)
            active = [effect for effect in active if effect not in ending] + beginning
            for part in (*LINKS, *NODES):
                assert world.states.get(part.name, part.start) == _expected(active, part)
        draw.shuffle(active)
        for effect in active:
            await effects.replace([effect], [])
        assert all(world.states.get(part.name, part.start) == part.start for part in (*LINKS, *NODES))

    asyncio.run(play())


@pytest.mark.parametrize("seed", range(20))
def test_beginnings_and_ends_at_the_same_time(seed: int) -> None:
    """Faults run side by side, and the thread that changes a part may be overtaken by the next change of it."""
    draw = random.Random(seed)

    async def fault(effects: ActiveEffects, effect: Effect[Any]) -> None:
        for _ in range(draw.randrange(3)):
            await asyncio.sleep(0)
        await effects.replace([], [effect])
        for _ in range(draw.randrange(3)):
            await asyncio.sleep(0)
        await effects.replace([effect], [])

    async def play() -> World:
        world = World()
        effects = ActiveEffects(world)  # type: ignore[arg-type]
        await asyncio.gather(*(fault(effects, _random_effect(draw)) for _ in range(30)))
        return world

    states = asyncio.run(play()).states
    assert states
    assert all(states.get(part.name, part.start) == part.start for part in (*LINKS, *NODES))


def test_a_change_that_is_cancelled_half_way_is_still_undone() -> None:
    async def play() -> Any:
        world, effect = World(), replace(change_node("", paused=True), target=NODES[0])
        effects = ActiveEffects(world)  # type: ignore[arg-type]
        beginning = asyncio.create_task(effects.replace([], [effect]))
        await asyncio.sleep(0)
        beginning.cancel()
        await effects.replace([effect], [])
        return world.states.get(NODES[0].name, CONDITION)

    assert asyncio.run(play()) == CONDITION


def test_a_change_whose_caller_is_gone_comes_to_its_end_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """A node that was being killed when play ended: nobody undoes that, and the event loop ends with play."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Part):
        def apply(self, world: Any, before: Any, after: Any) -> None:
            begun.set()
            assert go_on.wait(30)
            super().apply(world, before, after)

    async def play() -> Any:
        world, part = World(), Slow("slow", CONDITION)
        effects = ActiveEffects(world)  # type: ignore[arg-type]
        killing = asyncio.create_task(effects.replace([], [replace(change_node("", running=False), target=part)]))
        await asyncio.to_thread(begun.wait)
        killing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killing
        go_on.set()
        await effects.settled()
        return world.states["slow"].running

    assert asyncio.run(play()) is False
    gc.collect()
    assert caplog.records == []


def test_what_somebody_else_did_to_a_target_is_taken_up_once_and_stays() -> None:
    """A node that a fault killed and somebody started gets all that faults demand, and the undo changes nothing."""
    node = NODES[0]
    gone = replace(CONDITION, running=False, cpus=0.0)

    async def play() -> list[Any]:
        world, kill = World(), replace(change_node("", running=False), target=node)
        split = replace(deafen("", frozenset("b")), target=node)
        effects = ActiveEffects(world)  # type: ignore[arg-type]
        await effects.replace([], [kill, split])
        found = iter([None, gone])
        started = replace(change_node("", running=True), target=node)
        await effects.take_up(started, lambda: next(found))
        seen = [world.states[node.name]]
        world.states[node.name] = gone
        await effects.take_up(started, lambda: next(found))
        for ending in ([kill], [split]):
            seen.append(world.states[node.name])
            await effects.replace(ending, [])
        again = replace(change_node("", running=False), target=node)
        await effects.replace([], [again])
        return [*seen, world.states[node.name]]

    deaf = replace(CONDITION, deaf_to=frozenset("b"))
    assert asyncio.run(play()) == [replace(deaf, running=False), deaf, deaf, replace(CONDITION, running=False)]


def _state(part: Part, *effects: Effect[Any]) -> Any:
    return _expected([replace(effect, target=part) for effect in effects], part)


def test_flags_add_up_numbers_are_those_of_the_last_and_the_deaf_are_all() -> None:
    cut, half = change_link("", {"up": {"cut": True}, "down": {"cut": True}}), change_link("", {"up": {"cut": True}})
    assert _state(LINKS[0], cut, half).up.cut
    slower, slow = change_node("", cpus=0.1), change_node("", cpus=0.2)
    assert _state(NODES[0], slower, slow).cpus == 0.2
    assert _state(NODES[0], deafen("", frozenset("ab")), deafen("", frozenset("bc"))).deaf_to == set("abc")
    worse = _state(LINKS[0], change_link("", {"up": {"delay": 0.5}}), change_link("", {"up": {"corrupt": 0.1}}))
    assert (worse.up.delay, worse.up.corrupt, worse.up.bandwidth) == (0.5, 0.1, 1e6)


def test_a_delay_that_another_fault_takes_away_takes_the_jitter_with_it() -> None:
    jitter, fast = change_link("", {"up": {"jitter": Jitter(0.015)}}), change_link("", {"up": {"delay": 0.001}})
    assert _state(LINKS[0], jitter, fast).up.jitter.deviation == 0.001
    assert _state(LINKS[0], jitter).up.jitter.deviation == 0.015
