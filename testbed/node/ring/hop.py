"""A node's place in its ring: it hears the node before, computes in a thread, and speaks to the next."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Final

from testbed.node.config import RING_PORT, NodeConfig
from testbed.node.ring.connections import Incoming, Outgoing
from testbed.node.ring.frames import Format, Frame
from testbed.node.ring.messages import Activations, FrameError, Timing
from testbed.node.ring.station import Station
from testbed.node.ring.tuning import sizes
from testbed.node.slowness import Slowness
from testbed.node.trace import Trace
from testbed.patterns.pipeline import Pipeline

_KEPT: Final = 16  # last times of batches of a size
_LOOPBACK: Final = "127.0.0.1"  # where a ring of one node closes


@dataclass(frozen=True)
class Seat:
    """A node's seat in a ring: what it was told, and what computes there; ``width`` is the model's."""

    config: NodeConfig
    pattern: Pipeline
    station: Station
    width: int
    slowness: Slowness
    trace: Trace
    listen: str = "0.0.0.0"

    @property
    def stage(self) -> int:
        """Its number, from 0 at the head."""
        return self.pattern.ring.index(self.config.name)

    @property
    def before(self) -> str:
        """The node before; in a ring of one, itself."""
        return self.pattern.ring[self.stage - 1]

    @property
    def next_address(self) -> str:
        """Where the next node is."""
        following = self.pattern.ring[(self.stage + 1) % len(self.pattern.ring)]
        return self.config.neighbours.get(following, _LOOPBACK)


class Hop:
    """The hop of a seat. ``take`` gets all frames that come in, ``lose`` is called when none come any more."""

    def __init__(self, seat: Seat, take: Callable[[Frame], None], lose: Callable[[], None]) -> None:
        self._seat = seat
        self._thread = ThreadPoolExecutor(1, "stage")
        self._lose = lose
        self._seconds: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))
        layout, detect = Format(seat.width, seat.pattern.activations), seat.pattern.detect
        self._incoming = Incoming(layout, detect, take, self._note_silence, self.reject)
        self._outgoing = Outgoing(seat.next_address, RING_PORT, layout, detect, seat.config.clock)

    async def run(self) -> None:
        """Keep both connections for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._outgoing.run())
            tasks.create_task(self._incoming.run(self._seat.listen, RING_PORT))

    async def compute(self, frame: Frame) -> Frame | None:
        """What a frame comes to at this stage; raises FrameError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, frame)

    def send(self, frame: Frame) -> None:
        """Send a frame on, or lose it if there is no connection."""
        self._outgoing.send(frame)

    def reject(self, error: FrameError) -> None:
        """Count a frame that is not taken."""
        self._seat.trace.emit("frame_rejected", reason=str(error))

    @property
    def epoch(self) -> int:
        """The epoch that the stage is in."""
        return self._seat.station.epoch

    def _compute(self, frame: Frame) -> Frame | None:
        match frame.message:
            case Activations(rows):
                return self._compute_rows(frame, len(rows))
            case Timing(seconds):
                frame = Frame(frame.epoch, Timing([*seconds, *self._times()]))
        return self._seat.station.take(frame)

    def _compute_rows(self, frame: Frame, rows: int) -> Frame | None:
        clock, begin = self._seat.config.clock, time.thread_time()
        came = clock.now()
        result = self._seat.station.take(frame)
        self._seat.slowness.stretch(begin)
        seconds = clock.now() - came
        self._seconds[rows].append(seconds)
        self._seat.trace.emit("computed", rows=rows, seconds=seconds)
        return result

    def _times(self) -> list[float]:
        """Seconds that batches took, of each size that a rehearsal tries; 0 for one that has not been."""
        return [median(self._seconds[size] or [0.0]) for size in sizes(self._seat.pattern.samples)]

    def _note_silence(self) -> None:
        self._seat.trace.emit("neighbour_lost", peer=self._seat.before)
        self._lose()
