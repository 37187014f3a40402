"""What holds of a target while faults come and go.

    original ─► effect of cut-1 ─► effect of degrade-1 ─► what holds      in the order in which they began

A fault has effects; an effect changes the state of one target for as long as it is active. Nothing is ever restored:
what holds is computed anew, from the original and the effects that are active then. So faults may overlap and end in
any order, and once all have ended the original is back.
"""

import asyncio
from collections import defaultdict
from typing import Any, Protocol

from testbed.faults.api import World
from testbed.schema.fault import Effect, Effects, State


class Target(Protocol[State]):
    """A part of a world that has a state. Equal targets are the same part."""

    def original(self, world: World) -> State:
        """Its state where no fault is active."""

    def apply(self, world: World, before: State, after: State) -> None:
        """Bring it from one state into another; called in a thread of its own."""


class ActiveEffects:
    """The effects that are active in a world, which they keep in the state that they demand."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._active: list[Effect[Any]] = []
        self._states: dict[Target[Any], Any] = {}
        self._locks: defaultdict[Target[Any], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._settling: set[asyncio.Future[Any]] = set()

    async def replace(self, ending: Effects, beginning: Effects) -> None:
        """End some effects and begin others; returns once the world is so.

        Whoever is cancelled meanwhile does not stop it half-way. Raises TestbedError where the world cannot be so.
        """
        for effect in ending:
            self._active.remove(effect)
        self._active += beginning
        targets = dict.fromkeys(effect.target for effect in (*ending, *beginning))
        settling = asyncio.gather(*map(self._settle, targets))
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)
        await asyncio.shield(settling)

    async def settled(self) -> None:
        """Wait for changes whose caller was cancelled to come to their end."""
        await asyncio.gather(*self._settling, return_exceptions=True)

    def demanded(self, target: Target[State]) -> State:
        """The state that a target is to be in."""
        state = target.original(self._world)
        for effect in self._active:
            if effect.target == target:
                state = effect.change(state)
        return state

    async def _settle(self, target: Target[Any]) -> None:
        """Bring a target into the state that is demanded once its turn comes."""
        async with self._locks[target]:
            before = self._states.get(target, target.original(self._world))
            after = self.demanded(target)
            if after != before:
                await asyncio.to_thread(target.apply, self._world, before, after)
                self._states[target] = after
