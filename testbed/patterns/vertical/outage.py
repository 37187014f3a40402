"""Nodes that cannot be reached: found out once for all prompts, and not asked until they are back.

    call to a node ─────────────────────────────────┬─► its answer
    pings to it, as long as any call waits ─ ─ ─ ─ ─┴─► two in a row missed: all calls to it end

Two lost pings and the pauses between them take `detect` together. A node that is slow, or whose queue is long, answers
pings, and is waited for. Pings to a node that is out go on, so that it is asked again soon after it is back.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Literal, TypeVar

from pydantic import Field

from testbed.core.spec import Spec
from testbed.core.units import Duration
from testbed.patterns.participant import JobError, Participant, Peer

_Result = TypeVar("_Result")

_MISSES: Final = 2


class OutageOptions(Spec):
    """How soon a node that cannot be reached is given up, and what becomes of the prompts then."""

    detect: Duration = Field(1.0, ge=0.1, description="silence of a node after which calls to it are given up")
    fallback: Literal["best-so-far", "fail"] = Field(
        "best-so-far", description="what a prompt ends with if a stage that it needs is out"
    )


class OutageError(JobError):
    """A node cannot be reached."""


class Watch:
    """Watches the nodes that calls wait for."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}  # by node: what ends its calls
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._out: set[str] = set()

    def is_out(self, name: str) -> bool:
        """Whether the node called ``name`` has been found out of reach, and is not back."""
        return name in self._out

    async def guard(
        self, work: Coroutine[Any, Any, _Result], peer: Peer, owner: Participant, options: OutageOptions
    ) -> _Result:
        """The result of ``work``, which waits for ``peer``; raises OutageError as soon as that cannot be reached."""
        lost = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(peer.name, set()).add(lost)
        if peer.name not in self._watching:
            self._watching[peer.name] = asyncio.create_task(self._watch(peer, owner, options.detect))
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise OutageError(f"{peer.name} cannot be reached")
            return task.result()
        finally:
            self._waiting[peer.name].discard(lost)
            lost.cancel()
            task.cancel()

    async def _watch(self, peer: Peer, owner: Participant, detect: float) -> None:
        """Ping ``peer`` as long as calls wait for it, or it is out."""
        loop, pause, missed = asyncio.get_running_loop(), detect / (_MISSES + 1), 0
        try:
            while self._waiting[peer.name] or peer.name in self._out:
                due = loop.time() + pause
                missed = 0 if await owner.reaches(peer, pause) else missed + 1
                if not missed:
                    self._out.discard(peer.name)
                elif missed >= _MISSES:
                    self._lose(peer.name)
                await asyncio.sleep(due - loop.time())
        finally:
            del self._watching[peer.name]

    def _lose(self, name: str) -> None:
        self._out.add(name)
        for lost in self._waiting[name]:
            if not lost.done():
                lost.set_result(None)
