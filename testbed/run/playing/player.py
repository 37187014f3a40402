"""Plays the timeline of a scenario: begins each fault when it is due, and ends it after its duration."""

import asyncio
import math
from contextlib import suppress
from typing import Final

from testbed.core.errors import TestbedError
from testbed.faults.effects import ActiveEffects
from testbed.record.recording import Recording
from testbed.schema.fault import Effects, Fault
from testbed.schema.timeline.entries import Entry
from testbed.world.world import World, explained

GLANCE: Final = 0.02
"""Seconds between two checks of an entry's trigger."""


class Timeline:
    """The timeline of one play.

    ``active`` are the subjects of the active faults, by the names of the faults, and ``effects`` is what they do.
    """

    def __init__(self, world: World, recording: Recording) -> None:
        self._clock = world.clock
        self._topology = world.plan.scenario.topology
        self._entries = world.plan.scenario.timeline
        self._recording = recording
        self.effects = ActiveEffects(world)
        self._held: dict[str, Effects] = {}
        self._healed = {entry.label: asyncio.Event() for entry in self._entries}
        self.active: dict[str, str] = {}

    async def play(self) -> None:
        """Play all entries; returns once every fault is over."""
        async with asyncio.TaskGroup() as entries:
            for entry in self._entries:
                entries.create_task(self._play(entry))

    async def end(self) -> None:
        """Undo the faults that are still active. Killed nodes stay dead: after play they have nothing to do."""
        for entry in self._entries:
            if self._held.get(entry.label) and entry.fault is not None and not entry.fault.outlives_play:
                await self._end(entry, self._clock.now())
        await self.effects.settled()

    async def _play(self, entry: Entry) -> None:
        asked = await self._due(entry)
        try:
            with explained(f"{entry.label} cannot be carried out"):
                await (self._heal(entry, asked) if entry.fault is None else self._carry_out(entry, entry.fault, asked))
        except TestbedError as error:
            self.fail(entry.label, error)
            await self._end(entry, asked)

    async def _heal(self, entry: Entry, asked: float) -> None:
        assert entry.heal is not None
        self._healed[entry.heal].set()
        self._note("fault_begin", entry, asked)

    async def _carry_out(self, entry: Entry, fault: Fault, asked: float) -> None:
        healed, due = self._healed[entry.label], asked
        healed.clear()  # a `heal` before the fault's beginning has no effect
        end = asked + (entry.lasts or math.inf)
        for phase in fault.phases(self._topology):
            await self._hold(entry, phase.effects)
            if entry.label not in self.active:
                self.active[entry.label] = fault.subject
                self._note("fault_begin", entry, asked)
            due += phase.seconds
            await _until(min(due, end), healed)
            if healed.is_set() or self._clock.now() >= end:
                break
        await self._end(entry, self._clock.now() if healed.is_set() else min(due, end))

    async def _end(self, entry: Entry, asked: float) -> None:
        if entry.fault is not None and not entry.fault.momentary:
            await self._undo(entry)
        if self.active.pop(entry.label, None) is not None:
            self._note("fault_end", entry, asked)

    async def _undo(self, entry: Entry) -> None:
        try:
            with explained(f"{entry.label} cannot be undone"):
                await self._hold(entry, [])
        except TestbedError as error:
            self.fail(entry.label, error)

    def fail(self, name: str, error: TestbedError) -> None:
        """Record that the fault of that name, or the node, cannot be brought into the state that it should be in."""
        self._recording.emit("fault_failed", name=name, reason=str(error))

    async def _hold(self, entry: Entry, effects: Effects) -> None:
        """Replace the effects of an entry."""
        before, self._held[entry.label] = self._held.get(entry.label, []), effects
        await self.effects.replace(before, effects)

    def _note(self, event: str, entry: Entry, asked: float) -> None:
        self._recording.emit(event, name=entry.label, asked=round(asked - self._recording.zero, 6))

    async def _due(self, entry: Entry) -> float:
        """Wait until an entry is due; returns the time that it asks for, or at which its trigger was seen to be met."""
        if entry.at is not None:
            asked = self._recording.zero + entry.at
            await asyncio.sleep(asked - self._clock.now())
            return asked
        (trigger,) = entry.triggers.values()
        while not trigger.met(self._recording.boards):
            await asyncio.sleep(GLANCE)
            self._recording.catch_up()
        return self._clock.now()


async def _until(when: float, event: asyncio.Event) -> None:
    """Wait until a time of the run's clock, which is the event loop's, or until an event is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(when if math.isfinite(when) else None):
            await event.wait()
