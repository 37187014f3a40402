"""The recording of a run: events and samples, from before play until its end."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final

from testbed.analysis.board import NodeBoard
from testbed.analysis.events import write_events
from testbed.analysis.measurements import Measurements
from testbed.record.directory import RunDirectory
from testbed.record.event_log import RunEvents
from testbed.record.host_load import HostLoad, HostWatch
from testbed.record.opinions import attacks, opinions
from testbed.record.power import gauges
from testbed.record.samples import Sampler
from testbed.workload.prompts.base import Question
from testbed.world.nodes.handle import ClockOffset, Event, Exit, NodeHandle
from testbed.world.world import World

SAMPLE_INTERVAL: Final = 0.15
"""Seconds from one sample to the next."""

_PROMPT: Final = 0.02
"""Seconds that an event can wait in its node while a timeline waits for an event."""

_EXIT_SECONDS: Final = 2.0


class Recording:
    """The events and samples of one run, and ``boards``, which hold the current state of its nodes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._clock = world.clock
        self._log = RunEvents(world.link_events, world.clock)
        caps = {name: device.memory for name, device in world.plan.devices.items()}
        self.boards = {name: NodeBoard(memory_cap=caps.get(name, 0)) for name in world.nodes}
        self._gauges = gauges(world.plan.scenario.topology.nodes, self._lose_sensor)
        self._sampler = Sampler(world, self.boards, self._gauges)
        self._host = HostWatch()
        self._exits: Counter[str] = Counter()  # how many of each node are recorded
        self._gone: dict[str, Exit] = {}
        self.questions: dict[str, Question] = {}
        """The question of each prompt, by which the answers of its calls are judged."""
        self.followers: list[Callable[[Event], None]] = []
        """Are told each event of a node as it comes in."""
        self.zero = self._clock.now()
        """The beginning of play on the run's clock, once it has begun."""

    def begin(self) -> None:
        """Begin to count: time, host load and traffic of play are measured from here."""
        self.zero = self._clock.now()
        self._count_traffic()
        self._host.look()
        for gauge in self._gauges.values():
            gauge.start()

    def end(self) -> None:
        """Play has ended."""
        for gauge in self._gauges.values():
            gauge.stop()
        self.sample()
        self._count_traffic()

    def emit(self, event: str, **fields: object) -> None:
        """Record an event of the host, at this moment."""
        self._log.emit(event, **fields)

    async def follow(self) -> None:
        """Receive the nodes' events until cancelled."""
        awaited = any(entry.triggers for entry in self._world.plan.scenario.timeline)
        every = _PROMPT if awaited else SAMPLE_INTERVAL
        async with asyncio.TaskGroup() as following:
            for node in self._world.nodes.values():
                following.create_task(self._follow(node, every))

    async def _follow(self, node: NodeHandle, every: float) -> None:
        async with node.session() as session:
            async for events in session.events(every):
                self._take(node.name, events)

    async def _take_all_last(self) -> None:
        await asyncio.gather(*map(self._take_last, self._world.nodes.values()))

    async def _take_last(self, node: NodeHandle) -> None:
        async with node.session() as session:
            self._take(node.name, await session.last_events())

    def _take(self, name: str, events: Sequence[Event]) -> None:
        self._log.take(events)
        for event in events:
            self.boards[name].apply(event)
            for follower in self.followers:
                follower(event)

    def catch_up(self) -> None:
        """Record changes of links, and nodes that exited or were started again."""
        self._log.catch_up()
        for name, node in self._world.nodes.items():
            end, board = node.exit(), self.boards[name]
            for one in node.exits[self._exits[name] :]:
                self._exits[name] += 1
                self._gone[name] = one
                self.emit("exited", who=name, reason=str(one))
                board.state = str(one)
            if end is None and name in self._gone:
                del self._gone[name]
                board.state = "starting"

    async def lose(self, prompt: str, owner: str) -> None:
        """Record that a prompt failed because its owner is gone.

        How the owner ended is known a moment after its sockets close.
        """
        deadline = self._clock.now() + _EXIT_SECONDS
        while owner not in self._gone and self._clock.now() < deadline:
            await asyncio.sleep(_EXIT_SECONDS / 100)
            self.catch_up()
        self.fail(prompt, owner, f"{owner}: {self._gone.get(owner, 'does not answer')}")

    def fail(self, prompt: str, owner: str, reason: str) -> None:
        """Record that the run gave up a prompt."""
        self.boards[owner].failed += 1
        self.emit("lost", prompt=prompt, reason=reason)

    def sample(self) -> None:
        """Record what the host sees, and take one sample of each node and link."""
        self.catch_up()
        self._sampler.sample()
        self._host.look()

    def write(self, directory: RunDirectory) -> Measurements:
        """Write all events and samples, including those that nodes still hold; returns the measurements."""
        self._clock.run(self._take_all_last())
        self._log.catch_up()
        scenario, events = self._world.plan.scenario, self._log.ordered(self.zero)
        scorer = scenario.workload.scorer
        judged = [*opinions(events, self.questions, scorer), *attacks(events, scorer)]
        events = sorted([*events, *judged], key=lambda event: event["t"])
        write_events(events, directory.events)
        measurements = Measurements(
            events,
            self._sampler.peaks,
            scenario.metric_files,
            scenario.topology.nodes,
            scenario.slo,
            self._sampler.energy(self.zero),
        )
        self._sampler.write(directory.samples, self.zero, measurements.queue_steps)
        return measurements

    @property
    def host_load(self) -> HostLoad | None:
        """The load of the host; None if there was no play."""
        return self._host.load()

    @property
    def throttled(self) -> dict[str, float]:
        """Seconds that each node waited behind its CPU quota."""
        return self._sampler.throttled

    @property
    def node_clocks(self) -> dict[str, ClockOffset]:
        """The clocks of the nodes that do not go by the host's."""
        return self._world.own_clocks

    @property
    def ended(self) -> set[str]:
        """The nodes that exited, whether or not they were started again."""
        return {event["who"] for event in self._log.events if event["event"] == "exited"}

    @property
    def failed_faults(self) -> list[str]:
        """The reasons of faults that could not be carried out."""
        return [event["reason"] for event in self._log.events if event["event"] == "fault_failed"]

    def _lose_sensor(self, node: str, reason: str) -> None:
        self.emit("sensor_lost", who=node, reason=reason)

    def _count_traffic(self) -> None:
        links = {name: asdict(traffic) for name, traffic in self._world.network.traffic().items()}
        self.emit("traffic", links=links)
