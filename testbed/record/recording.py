"""Everything that is traced while a run plays."""

import asyncio
from collections import Counter
from dataclasses import asdict
from typing import Final

from testbed.analysis.board import NodeBoard
from testbed.analysis.events import HOST, EventLog, write_events
from testbed.analysis.measurements import Measurements
from testbed.record.directory import RunDirectory
from testbed.record.host_load import HostLoad, HostWatch
from testbed.record.samples import Sampler
from testbed.world.nodes.container import Exit
from testbed.world.world import World

SAMPLE_INTERVAL: Final = 0.15
"""Seconds between two samples."""

_EXIT_SECONDS: Final = 2.0


class Recording:
    """The events and samples of one run, and the boards that show where its nodes stand."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._clock = world.clock
        self._log = EventLog([*(world.events(name) for name in world.nodes), world.link_events], world.clock)
        nodes = world.plan.scenario.topology.nodes
        self.boards = {name: NodeBoard(memory_cap=node.memory) for name, node in nodes.items()}
        self._sampler = Sampler(world, self.boards)
        self._host = HostWatch()
        self._exits: Counter[str] = Counter()  # how many of each node are recorded
        self._gone: dict[str, Exit] = {}
        self.zero = self._clock.now()
        """The beginning of play on the run's clock, once it has begun."""

    def begin(self) -> None:
        """Play begins now."""
        self.zero = self._clock.now()
        self._count_traffic()
        self._host.look()

    def end(self) -> None:
        """Play is over."""
        self.sample()
        self._count_traffic()

    def emit(self, event: str, **fields: object) -> None:
        """Record what the host sees happening now."""
        self._log.emit(event, **fields)

    def catch_up(self) -> None:
        """Take in the nodes' events, and then who has ended: the last word on a node, unless it was started again."""
        for event in self._log.collect():
            if event["node"] != HOST:
                self.boards[event["node"]].apply(event)
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
        """A prompt's owner ended before the prompt did; how it ended is known a moment after its sockets close."""
        deadline = self._clock.now() + _EXIT_SECONDS
        while owner not in self._gone and self._clock.now() < deadline:
            await asyncio.sleep(_EXIT_SECONDS / 100)
            self.catch_up()
        self.boards[owner].failed += 1
        self.emit("lost", prompt=prompt, reason=f"{owner}: {self._gone.get(owner, 'does not answer')}")

    def sample(self) -> None:
        """Take in what the nodes have done, and one sample of each."""
        self.catch_up()
        self._sampler.sample()
        self._host.look()

    def write(self, directory: RunDirectory) -> Measurements:
        """Write all events and samples, and return what can be computed from them."""
        self._log.collect()
        events = self._log.ordered(self.zero)
        write_events(events, directory.events)
        self._sampler.write(directory.samples, self.zero)
        return Measurements(events, self._sampler.peaks)

    @property
    def host_load(self) -> HostLoad | None:
        """How busy the host was; None if nothing played."""
        return self._host.load()

    @property
    def throttled(self) -> dict[str, float]:
        """Seconds that each node's cap kept it waiting."""
        return self._sampler.throttled

    @property
    def ended(self) -> set[str]:
        """The nodes that ended, whether or not they were started again."""
        return {event["who"] for event in self._log.events if event["event"] == "exited"}

    @property
    def failed_faults(self) -> list[str]:
        """Why faults could not be carried out."""
        return [event["reason"] for event in self._log.events if event["event"] == "fault_failed"]

    def _count_traffic(self) -> None:
        links = {name: asdict(traffic) for name, traffic in self._world.network.traffic().items()}
        self.emit("traffic", links=links)
