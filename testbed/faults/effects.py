"""The states of links and nodes while faults begin and end.

    original ─► effect of cut-1 ─► effect of degrade-1 ─► state      in the order in which the effects began

An effect changes the state of one target while it is active. No state is remembered and restored: each state is
computed from the original and the active effects. So faults may overlap and end in any order, and the original state
returns when the last one ends.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from testbed.faults.api import World
from testbed.schema.fault import Effect, Effects, State


class Target(Protocol[State]):
    """A link or a node. Equal targets are the same link or node."""

    def original(self, world: World) -> State:
        """The state while no fault is active."""

    def apply(self, world: World, before: State, after: State) -> None:
        """Change the state from ``before`` to ``after``. Blocks, so it is called in a thread."""


class ActiveEffects:
    """The active effects in a world. Each change of them brings the targets concerned into their new states."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._active: list[Effect[Any]] = []
        self._states: dict[Target[Any], Any] = {}
        self._locks: defaultdict[Target[Any], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._settling: set[asyncio.Future[Any]] = set()

    async def replace(self, ending: Effects, beginning: Effects) -> None:
        """End some effects, begin others, and return when all their targets are in the new states.

        Cancelling the caller does not cancel the change. Raises TestbedError if a target cannot take its state.
        """
        for effect in ending:
            self._active.remove(effect)
        self._active += beginning
        targets = dict.fromkeys(effect.target for effect in (*ending, *beginning))
        await self._shielded(asyncio.gather(*map(self._settle, targets)))

    async def refresh(self, effect: Effect[Any]) -> None:
        """Bring the target of an active effect, which now changes the state differently, into its new state.

        As with :meth:`replace`, cancelling the caller does not cancel the change. Raises TestbedError likewise.
        """
        await self._shielded(self._settle(effect.target))

    async def take_up(self, effect: Effect[State], found: Callable[[], State | None]) -> None:
        """Take up what somebody else did to a target as a lasting effect, and bring the target into its state.

        ``found`` blocks. It returns the state that the target was left in, None if nobody did anything to it. Raises
        TestbedError if the target cannot take its state. Cancelling the caller does not cancel the change.
        """
        await self._shielded(self._take_up(effect, found))

    async def _take_up(self, effect: Effect[State], found: Callable[[], State | None]) -> None:
        target = effect.target
        async with self._locks[target]:
            before = await asyncio.to_thread(found)
            if before is None:
                return
            self._active.append(effect)
            self._states[target] = before
            after = self.demanded(target)
            await asyncio.to_thread(target.apply, self._world, before, after)
            self._states[target] = after

    async def settled(self) -> None:
        """Wait until the changes of cancelled callers are complete."""
        await asyncio.gather(*self._settling, return_exceptions=True)

    async def _shielded(self, changes: Awaitable[Any]) -> None:
        settling = asyncio.ensure_future(changes)
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)
        await asyncio.shield(settling)

    def demanded(self, target: Target[State]) -> State:
        """The state that follows from the target's original and the active effects."""
        state = target.original(self._world)
        for effect in self._active:
            if effect.target == target:
                state = effect.change(state)
        return state

    async def _settle(self, target: Target[Any]) -> None:
        """Bring a target into its state; changes of one target are made one at a time."""
        async with self._locks[target]:
            before = self._states.get(target, target.original(self._world))
            after = self.demanded(target)
            if after != before:
                await asyncio.to_thread(target.apply, self._world, before, after)
                self._states[target] = after
