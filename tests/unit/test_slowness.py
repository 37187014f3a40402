"""The fault that makes a model slower: what a token takes, and that it outlives whatever else befalls a node."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.faults.effects import ActiveEffects
from testbed.faults.targets import change_node
from testbed.host.devices import Device
from testbed.node.engine.model import Sampling
from testbed.node.engine.slowness import SlowedModel, Slowness
from testbed.patterns.participant import ChatMessage, Completion
from testbed.world.nodes.capped_container import CappedContainer
from testbed.world.world import World as RealWorld

TOKEN = 0.005  # seconds of CPU time


@pytest.fixture
def cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of CPU time that goes on by a fiftieth of a token whenever it is read, on any host."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: next(ticks) * TOKEN / 50)


@dataclass
class Worker:
    """A model that computes for each token, and notes the CPU time that each took until the next could be begun."""

    before_token: Callable[[int], object]
    took: list[float] = field(default_factory=list)

    def complete(
        self, messages: Sequence[ChatMessage], sampling: Sampling, on_text: Callable[[str], None]
    ) -> Completion:
        del messages, sampling
        for number in range(6):
            self.before_token(number)
            begin = time.thread_time()
            while time.thread_time() < begin + TOKEN:
                pass
            on_text("")
            self.took.append(time.thread_time() - begin)
        return Completion("", 1, 6, stopped=True)


@pytest.mark.usefixtures("cpu_time")
def test_a_token_takes_as_many_times_as_long_as_the_file_says_when_it_is_drawn(tmp_path: Path) -> None:
    file = tmp_path / "slowness"
    told: dict[int, Callable[[], object]] = {
        2: lambda: file.write_text("4.0"),
        4: lambda: file.write_text("2.5"),
        5: file.unlink,
    }
    worker, heard = Worker(lambda number: told.get(number, lambda: None)()), list[int]()
    SlowedModel(worker, Slowness(file)).complete([], Sampling(0.0, 6, 1), lambda _: heard.append(1))
    assert len(heard) == 6
    factors = [1.0, 1.0, 4.0, 4.0, 2.5, 1.0]
    for took, factor in zip(worker.took, factors, strict=True):
        assert took == pytest.approx(factor * TOKEN, rel=0.2)


@dataclass
class Node:
    """A node that notes what its agent is told."""

    change = CappedContainer.change

    told: list[Any] = field(default_factory=list)
    ended: bool = False

    def kill(self) -> None:
        self.ended = True

    def start_again(self) -> None:
        self.ended = False

    def slow_down(self, slowness: float) -> None:
        self.told.append(("a", slowness))

    def cap_cpu(self, cpus: float) -> None:
        del cpus

    def cap_memory(self, cap: int) -> None:
        del cap


@dataclass
class World(Node):
    """A world of one node, and what was done to it."""

    original_condition = RealWorld.original_condition
    change_condition = RealWorld.change_condition
    _restart = RealWorld._restart

    def __post_init__(self) -> None:
        self.plan = SimpleNamespace(devices={"a": Device(cpus=0.3, memory=1000)})
        self.nodes = {"a": self}


@pytest.mark.parametrize("killed_last", [True, False])
def test_a_node_that_is_dead_is_told_all_the_same(killed_last: bool) -> None:
    """What it is told lies in a file, so it must neither be forgotten nor stay there."""

    async def play() -> list[Any]:
        world = World()
        effects = ActiveEffects(world)  # type: ignore[arg-type]
        slow, kill = change_node("a", slowness=3.0), change_node("a", running=False)
        first, second = (slow, kill) if killed_last else (kill, slow)
        await effects.replace([], [first])
        await effects.replace([], [second])
        assert world.told == [("a", 3.0)]
        await effects.replace([slow], [])
        assert world.ended
        await effects.replace([kill], [])
        return world.told

    assert asyncio.run(play()) == [("a", 3.0), ("a", 1.0)]
