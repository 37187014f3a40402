"""Each named request is done once: a repeated one joins the first, or gets its outcome."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from testbed.patterns.participant import JobError

Outcome = TypeVar("Outcome")

KEPT: Final = 1000
"""Outcomes that are remembered: more than a node computes within the deadline of a request."""


class NameTakenError(JobError):
    """A request has the name of another one, whose content differs."""


@dataclass(frozen=True)
class Running(Generic[Outcome]):
    """A request that is being done."""

    task: asyncio.Task[Outcome]
    content: str = ""


@dataclass(frozen=True)
class Ended(Generic[Outcome]):
    """A request that has been done."""

    outcome: Outcome
    content: str = ""


class Requests(Generic[Outcome]):
    """The requests that a node knows, by name. A request whose work raises was not done, and may come again.

    ``ended`` holds outcomes from before a restart, ``contents`` what those requests contained: equal strings for equal
    requests. An outcome without content answers every request of its name.
    """

    def __init__(
        self, ended: Mapping[str, Outcome], kept: int = KEPT, contents: Mapping[str, str] | None = None
    ) -> None:
        self._known: dict[str, Running[Outcome] | Ended[Outcome]] = {}
        self._order: deque[str] = deque()  # the names of requests that have ended, the oldest first
        self._kept = kept
        for name, outcome in ended.items():
            self._keep(name, Ended(outcome, (contents or {}).get(name, "")))

    def state(self, name: str) -> Running[Outcome] | Ended[Outcome] | None:
        """The request of this name; None if it is new or forgotten."""
        return self._known.get(name)

    def forget(self, name: str) -> None:
        """Keep the outcome of a request no longer."""
        if isinstance(self._known.get(name), Ended):
            del self._known[name]
            self._order.remove(name)

    def check(self, name: str, content: str) -> None:
        """Raise NameTakenError if the name belongs to a request with another content."""
        known = self._known.get(name)
        if known is not None and known.content and known.content != content:
            raise NameTakenError(f"{name} is the name of another request, whose content differs")

    async def outcome(self, name: str, work: Callable[[], Coroutine[Any, Any, Outcome]], content: str = "") -> Outcome:
        """The outcome of a request. ``work`` begins if the request is new. A caller that stops waiting stops nothing.

        Raises NameTakenError if the name belongs to a request with another content.
        """
        self.check(name, content)
        match self._known.get(name):
            case Ended(outcome):
                return outcome
            case Running(task):
                return await asyncio.shield(task)
            case None:
                return await asyncio.shield(self.begin(name, work, content))

    def begin(
        self, name: str, work: Callable[[], Coroutine[Any, Any, Outcome]], content: str = ""
    ) -> asyncio.Task[Outcome]:
        """Do a new request."""
        task = asyncio.get_running_loop().create_task(self._do(name, work, content))
        task.add_done_callback(seen)
        self._known[name] = Running(task, content)
        return task

    async def _do(self, name: str, work: Callable[[], Coroutine[Any, Any, Outcome]], content: str) -> Outcome:
        try:
            outcome = await work()
        finally:
            del self._known[name]
        self._keep(name, Ended(outcome, content))
        return outcome

    def _keep(self, name: str, ended: Ended[Outcome]) -> None:
        self._known[name] = ended
        self._order.append(name)
        if len(self._order) > self._kept:
            del self._known[self._order.popleft()]


def seen(task: asyncio.Task[Any]) -> None:
    """Mark the error of a task as seen: asyncio logs an error that nobody waits for."""
    if not task.cancelled():
        task.exception()
