"""A node's place in its ring: it receives from the node before, computes in a thread, and sends to the next node."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final

from testbed.node.config import RING_PORT, NodeConfig
from testbed.node.engine.slowness import Slowness
from testbed.node.event_log import EventWriter
from testbed.node.ring.station import Station, Stations
from testbed.node.ring.tuning import sizes
from testbed.node.ring.wire.connections import Incoming, Outgoing
from testbed.node.ring.wire.frames import Format, Frame
from testbed.node.ring.wire.messages import Activations, FrameError, Reset, Row, Timing
from testbed.node.ring.worker import Worker
from testbed.node.transport.door import Door
from testbed.node.transport.refusals import UnauthenticatedError
from testbed.patterns.pipeline import Pipeline

_KEPT: Final = 16  # latest times, for each batch size


@dataclass(frozen=True)
class Seat:
    """A node's configuration in a ring, and the stations that it can be."""

    config: NodeConfig
    pattern: Pipeline
    stations: Stations
    slowness: Slowness
    log: EventWriter
    door: Door

    @property
    def stage(self) -> int:
        """The number of the node's stage, from 0 at the head."""
        return self.pattern.ring.index(self.config.name)

    def stage_of(self, node: str) -> int:
        """The number of another node's stage; raises UnauthenticatedError if it has none in this ring."""
        if node not in self.pattern.ring:
            raise UnauthenticatedError(f"{node} has no place in this ring")
        return self.pattern.ring.index(node)

    def can_do_without(self, missing: Sequence[int]) -> bool:
        """Whether the node has the files for a ring without the stages ``missing``."""
        return all(0 < stage < len(self.pattern.ring) for stage in missing) and self._names(missing) in self.stations

    def load(self, missing: Sequence[int]) -> Station:
        """The node's station in a ring without the stages ``missing``."""
        return self.stations.load(self._names(missing))

    def before(self, missing: Sequence[int]) -> int:
        """The stage before this one in a ring without the stages ``missing``; a single stage is before itself."""
        return self._beside(-1, missing)

    def next_address(self, missing: Sequence[int]) -> str:
        """The IP address of the stage after this one, which in a ring of one is itself."""
        following = self.pattern.ring[self._beside(1, missing)]
        return self.config.neighbours.get(following, self.config.address)

    def _names(self, missing: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.pattern.ring[stage] for stage in missing)

    def _beside(self, step: int, missing: Sequence[int]) -> int:
        present = [stage for stage in range(len(self.pattern.ring)) if stage not in missing]
        return present[(present.index(self.stage) + step) % len(present)]


class Hop:
    """The hop of a seat. ``take`` is called with each frame, ``lose`` when the node before falls silent."""

    def __init__(self, seat: Seat, take: Callable[[Frame], None], lose: Callable[[], None]) -> None:
        self._seat = seat
        self._station = seat.load(())
        self._missing: Sequence[int] = ()
        self._worker = Worker("stage")
        self._lose = lose
        self._seconds: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))
        layout, detect = Format(self._station.width, seat.pattern.activations), seat.pattern.detect
        self._incoming = Incoming(seat.before(()), layout, detect, take, self._note_silence, self.reject, seat.stage_of)
        host, clock = seat.next_address(()), seat.config.clock
        self._outgoing = Outgoing(seat.stage, host, RING_PORT, layout, detect, clock, seat.door)

    async def run(self) -> None:
        """Keep both connections for ever."""
        self._worker.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._outgoing.run())
                tasks.create_task(self._incoming.run(self._seat.config.address, RING_PORT, self._seat.door))
        finally:
            self._worker.stop()

    async def compute(self, frame: Frame, arrived: float | None = None) -> Frame | None:
        """The result of a frame at this stage, None if nothing goes on; raises FrameError.

        ``arrived`` is when the frame began to wait for the stage, by the run's clock; by default now.
        """
        arrived = self._seat.config.clock.now() if arrived is None else arrived
        if isinstance(frame.message, Reset) and frame.epoch > self.epoch:
            await self._do_without(frame.message.missing)
        return await self._worker.order(partial(self._compute, frame, arrived))

    def send(self, frame: Frame) -> None:
        """Send a frame to the next node. Without a connection it is lost."""
        self._outgoing.send(frame)

    @property
    def before(self) -> int:
        """The number of the stage before."""
        return self._incoming.before

    def reject(self, error: FrameError) -> None:
        """Trace a frame that is rejected."""
        self._seat.log.emit("frame_rejected", reason=str(error))

    @property
    def epoch(self) -> int:
        """The epoch that the stage is in."""
        return self._station.epoch

    async def _do_without(self, missing: Sequence[int]) -> None:
        """Take the node's place in a ring without the stages ``missing``; raises FrameError if it cannot."""
        if missing == self._missing:
            return
        if self._seat.stage in missing or not self._seat.can_do_without(missing):
            raise FrameError(f"this node cannot do without the stages {list(missing)}")
        await self._worker.order(partial(self._load, missing))
        self._missing = missing
        self._incoming.expect(self._seat.before(missing))
        self._outgoing.turn_to(self._seat.next_address(missing))

    def _load(self, missing: Sequence[int]) -> None:
        epoch = self._station.epoch
        self._station.close()  # both would not fit
        self._station = self._seat.load(missing)
        self._station.epoch = epoch

    def _compute(self, frame: Frame, arrived: float) -> Frame | None:
        match frame.message:
            case Activations(rows):
                return self._compute_rows(frame, rows, arrived)
            case Timing(seconds):
                frame = Frame(frame.epoch, Timing([*seconds, *self._times()]))
        return self._station.take(frame)

    def _compute_rows(self, frame: Frame, rows: Sequence[Row], arrived: float) -> Frame | None:
        clock = self._seat.config.clock
        begin = clock.now()
        with self._seat.slowness.stretched():
            result = self._station.take(frame)
        seconds = clock.now() - begin
        self._seconds[len(rows)].append(seconds)
        waited, samples = max(0.0, begin - arrived), list(dict.fromkeys(row.sample for row in rows))
        self._seat.log.emit("computed", rows=len(rows), seconds=seconds, waited=waited, samples=samples)
        return result

    def _times(self) -> list[float]:
        """Median seconds of a batch, for each size that a rehearsal tries; 0 for a size that was not computed."""
        return [median(self._seconds[size] or [0.0]) for size in sizes(self._seat.pattern.samples)]

    def _note_silence(self) -> None:
        self._seat.log.emit("neighbour_lost", peer=self._seat.pattern.ring[self.before])
        self._lose()
