"""A node of a ring that is not its head: it computes each frame that arrives, and sends the result on."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from testbed.node.engine.model import OnText, Sampling
from testbed.node.ring.hop import Hop, Seat
from testbed.node.ring.wire.frames import Frame
from testbed.node.ring.wire.messages import FrameError, Loss, Reset
from testbed.patterns.participant import ChatMessage, Completion, JobError, Verification


class Follower:
    """The inference of a node that holds a part of a model, and cannot complete chats itself."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._hop = Hop(seat, self._take, self._lose)
        self._frames: deque[tuple[float, Frame]] = deque()
        self._epoch = 0  # of the last reset that arrived, computed or not
        self._wake = asyncio.Event()

    async def complete(
        self,
        job: str,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        origin: Mapping[str, str],
        on_text: OnText | None = None,
    ) -> Completion:
        """Refuse; raises JobError."""
        del job, messages, sampling, origin, on_text
        raise JobError(f"this node holds a part of its model; ask {self._seat.pattern.ring[0]}, the head of its ring")

    async def verify(
        self,
        job: str,
        messages: Sequence[ChatMessage],
        draft: Sequence[int],
        sampling: Sampling,
        origin: Mapping[str, str],
    ) -> Verification:
        """Refuse; raises JobError."""
        del job, messages, draft, sampling, origin
        raise JobError(f"a ring verifies no drafts; {self._seat.config.name} holds a part of a model")

    def check(self, messages: Sequence[ChatMessage]) -> None:
        """Nothing: :meth:`complete` refuses."""

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Refuse; raises JobError."""
        del messages
        raise JobError(f"this node holds a part of its model; ask {self._seat.pattern.ring[0]}, the head of its ring")

    def cancel(self, job: str, reason: str) -> bool:
        """Return False: no job ever waits here."""
        del job, reason
        return False

    def abandon(self, job: str) -> None:
        """Nothing: no job ever waits here."""

    def vocabulary(self) -> str:
        """Refuse; raises JobError."""
        raise JobError(f"a ring verifies no drafts; {self._seat.config.name} holds a part of a model")

    def text_of(self, tokens: Sequence[int]) -> str:
        """Refuse; raises JobError."""
        del tokens
        raise JobError(f"a ring hands out no tokens; {self._seat.config.name} holds a part of a model")

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hop.run())
            tasks.create_task(self._work())

    async def ready(self) -> None:
        """Return at once."""

    def _take(self, frame: Frame) -> None:
        if isinstance(frame.message, Reset):
            self._epoch = max(self._epoch, frame.epoch)
        if isinstance(frame.message, Reset | Loss) and frame.epoch >= self._epoch:
            # Frames that wait to be computed are void. But a loss must not overtake a reset: the head would ignore it.
            self._frames = deque(one for one in self._frames if isinstance(one[1].message, Reset | Loss))
        self._frames.append((self._seat.config.clock.now(), frame))
        self._wake.set()

    def _lose(self) -> None:
        self._take(Frame(self._epoch, Loss(self._hop.before)))

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            while self._frames:
                await self._pass_on(*self._frames.popleft())
            self._wake.clear()

    async def _pass_on(self, arrived: float, frame: Frame) -> None:
        try:
            result = await self._hop.compute(frame, arrived)
        except FrameError as error:
            self._hop.reject(error)
        else:
            if result is not None:
                self._hop.send(result)
