"""How the head measures stages and links before the first prompt: it sends batches round the ring, one at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from statistics import median
from typing import Final

from testbed.core.clock import Clock
from testbed.node.engine.front import Front
from testbed.node.ring.tuning import Choice, choose, sizes
from testbed.node.ring.wire.messages import (
    Activations,
    Drawing,
    Failing,
    FrameError,
    Freeing,
    Opening,
    RingMessage,
    Row,
    Timing,
    Tokens,
)

_TIMES: Final = 3  # each size goes round; the median counts
_GREEDY: Final = Drawing(seed=0, temperature=0.0, top_p=1.0)


class BrokenError(Exception):
    """The ring broke during the rehearsal, so frames under way are lost."""


class CannotComputeError(Exception):
    """A stage failed on a batch of a single row; the message is the stage's reason."""


class Rehearsal:
    """A rehearsal with the sample ``numbers``, which no chat has. ``send`` sends a message round the ring."""

    def __init__(
        self, numbers: Sequence[int], front: Front, send: Callable[[RingMessage], Awaitable[None]], clock: Clock
    ) -> None:
        self._numbers = numbers
        self._front = front
        self._send = send
        self._clock = clock
        self._home: asyncio.Queue[RingMessage | None] = asyncio.Queue()
        self._positions = dict.fromkeys(numbers, 0)
        self._failure = ""  # the reason of the stage that could not compute the last batch

    def take(self, message: RingMessage) -> None:
        """Accept a message that came home; raises FrameError for a kind that a rehearsal never sends round."""
        if not isinstance(message, Tokens | Timing | Failing):
            raise FrameError(f"{type(message).__name__} is nothing for a rehearsal")
        self._home.put_nowait(message)

    def interrupt(self) -> None:
        """End the rehearsal with BrokenError: frames under way will not come home."""
        self._home.put_nowait(None)

    async def run(self) -> Choice:
        """Measure every batch size up to the first that a stage cannot compute, and choose among those.

        Raises BrokenError, or CannotComputeError if no size is left.
        """
        for place, number in enumerate(self._numbers):
            await self._send(Opening(number, place, _GREEDY))
        rounds = [seconds async for seconds in self._rounds()]
        if not rounds:
            await self._send(Freeing(self._numbers))
            raise CannotComputeError(self._failure)
        await self._send(Timing([]))
        timing = await self._next()
        await self._send(Freeing(self._numbers))
        assert isinstance(timing, Timing)
        count = len(sizes(len(self._numbers)))
        stages = [timing.seconds[first : first + count] for first in range(0, len(timing.seconds), count)]
        return choose(len(self._numbers), stages, rounds)

    async def _rounds(self) -> AsyncIterator[float]:
        """Seconds of a round for each batch size, smallest first; ends at a size that a stage cannot compute."""
        for size in sizes(len(self._numbers)):
            times = []
            for _ in range(_TIMES):
                times.append(await self._round(size))
                if self._failure:
                    return
            yield median(times)

    async def _round(self, size: int) -> float:
        """Seconds until a batch of ``size`` rows is home, or a stage's failure in its place."""
        rows = [Row(number, self._positions[number], draw=True) for number in self._numbers[:size]]
        for row in rows:
            self._positions[row.sample] += 1
        hidden = self._front.embed([0] * size)
        begin = self._clock.now()
        await self._send(Activations(rows, hidden))
        outcome = await self._next()
        if isinstance(outcome, Failing):
            self._failure = outcome.reason
        return self._clock.now() - begin

    async def _next(self) -> RingMessage:
        message = await self._home.get()
        if message is None:
            raise BrokenError
        return message
