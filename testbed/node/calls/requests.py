"""Each request is done once, however often it comes: a repeated one joins the first, or gets its outcome."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

Outcome = TypeVar("Outcome")

KEPT: Final = 1000
"""Outcomes that are remembered. A neighbour repeats a request within a pattern's timeout, long before so many more."""


@dataclass(frozen=True)
class Running(Generic[Outcome]):
    """A request that is being done."""

    task: asyncio.Task[Outcome]


@dataclass(frozen=True)
class Ended(Generic[Outcome]):
    """A request that has been done."""

    outcome: Outcome


class Requests(Generic[Outcome]):
    """The requests that a node knows, by name. Those whose work raises were not done, and may come again."""

    def __init__(self, ended: Mapping[str, Outcome], kept: int = KEPT) -> None:
        self._known: dict[str, Running[Outcome] | Ended[Outcome]] = {}
        self._order: deque[str] = deque()  # the names of those that have ended, the oldest first
        self._kept = kept
        for name, outcome in ended.items():
            self._keep(name, outcome)

    def state(self, name: str) -> Running[Outcome] | Ended[Outcome] | None:
        """What is known of a request; None if it is new or forgotten."""
        return self._known.get(name)

    async def outcome(self, name: str, work: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
        """What comes of a request; ``work`` is begun if it is new. A caller that gives up stops nothing."""
        match self._known.get(name):
            case Ended(outcome):
                return outcome
            case Running(task):
                return await asyncio.shield(task)
            case None:
                return await asyncio.shield(self.begin(name, work))

    def begin(self, name: str, work: Callable[[], Coroutine[Any, Any, Outcome]]) -> asyncio.Task[Outcome]:
        """Do a new request."""
        task = asyncio.get_running_loop().create_task(self._do(name, work))
        task.add_done_callback(_seen)
        self._known[name] = Running(task)
        return task

    async def _do(self, name: str, work: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
        try:
            outcome = await work()
        finally:
            del self._known[name]
        self._keep(name, outcome)
        return outcome

    def _keep(self, name: str, outcome: Outcome) -> None:
        self._known[name] = Ended(outcome)
        self._order.append(name)
        if len(self._order) > self._kept:
            del self._known[self._order.popleft()]


def _seen(task: asyncio.Task[Any]) -> None:
    """Nobody may be waiting for an error any more; that is no fault to log."""
    if not task.cancelled():
        task.exception()
