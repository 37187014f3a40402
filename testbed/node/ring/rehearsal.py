"""How the head learns what stages and links take, before any prompt: it sends batches round, one at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import Final

from testbed.core.clock import Clock
from testbed.node.engine.front import Front
from testbed.node.ring.messages import Activations, Drawing, FrameError, Freeing, Message, Opening, Row, Timing, Tokens
from testbed.node.ring.tuning import Choice, choose, sizes

_TIMES: Final = 3  # each size goes round; the median counts
_GREEDY: Final = Drawing(seed=0, temperature=0.0, top_p=1.0)


class BrokenError(Exception):
    """The ring broke meanwhile."""


class Rehearsal:
    """A rehearsal with ``numbers`` of samples that nobody else uses; ``send`` lets a message go round."""

    def __init__(
        self, numbers: Sequence[int], front: Front, send: Callable[[Message], Awaitable[None]], clock: Clock
    ) -> None:
        self._numbers = numbers
        self._front = front
        self._send = send
        self._clock = clock
        self._home: asyncio.Queue[Message | None] = asyncio.Queue()
        self._positions = dict.fromkeys(numbers, 0)

    def take(self, message: Message) -> None:
        """Something has come home; raises FrameError for what is not due."""
        if not isinstance(message, Tokens | Timing):
            raise FrameError(f"{type(message).__name__} is nothing for a rehearsal")
        self._home.put_nowait(message)

    def interrupt(self) -> None:
        """The ring is broken: what is out there will not come home."""
        self._home.put_nowait(None)

    async def run(self) -> Choice:
        """Measure and choose; raises BrokenError."""
        tried = sizes(len(self._numbers))
        for place, number in enumerate(self._numbers):
            await self._send(Opening(number, place, _GREEDY))
        rounds = [median([await self._round(size) for _ in range(_TIMES)]) for size in tried]
        await self._send(Timing([]))
        timing = await self._next()
        await self._send(Freeing(self._numbers))
        assert isinstance(timing, Timing)
        stages = [timing.seconds[first : first + len(tried)] for first in range(0, len(timing.seconds), len(tried))]
        return choose(len(self._numbers), stages, rounds)

    async def _round(self, size: int) -> float:
        """Seconds until a batch of so many rows is home."""
        rows = [Row(number, self._positions[number], draw=True) for number in self._numbers[:size]]
        for row in rows:
            self._positions[row.sample] += 1
        hidden = self._front.embed([0] * size)
        begin = self._clock.now()
        await self._send(Activations(rows, hidden))
        await self._next()
        return self._clock.now() - begin

    async def _next(self) -> Message:
        message = await self._home.get()
        if message is None:
            raise BrokenError
        return message
