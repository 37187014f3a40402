"""An event loop in virtual time: it never waits, and its clock jumps to the next timer.

Tasks, futures and everything else of asyncio work on it unchanged, except for files, sockets and threads, which have
no virtual time. Simultaneous timers run in the order in which they were set.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar, TypeVarTuple

_Result = TypeVar("_Result")
_Ts = TypeVarTuple("_Ts")


class StandstillError(RuntimeError):
    """The main coroutine waits for something that no timer and no task will ever bring about."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """Begins at 0 s."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = count()
        self._error: BaseException | None = None
        self._running = False

    def time(self) -> float:
        """Virtual seconds: exactly those for which the timer that runs was set."""
        return self._now

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call ``callback`` at this virtual time, after everything that is due already."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call ``callback`` at the virtual time ``when``, or now if that is over."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (max(when, self._now), next(self._order), timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call ``callback`` after ``delay`` virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> "asyncio.Future[Any]":
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        """A task of this loop."""
        return asyncio.Task(coro, loop=self, **options)

    def get_debug(self) -> bool:
        """False: asyncio's debugging measures real time."""
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep the first error of a callback or of a task that nobody awaits: :meth:`run` raises it."""
        self._error = self._error or context.get("exception") or RuntimeError(context["message"])

    def run(self, main: Coroutine[Any, Any, _Result]) -> _Result:
        """The result of ``main``; raises its error, that of a callback, or StandstillError."""
        task: asyncio.Task[_Result] = self.create_task(main)
        self._running = True
        asyncio.events._set_running_loop(self)
        try:
            while not task.done():
                self._step()
                if self._error is not None:
                    raise self._error
        finally:
            asyncio.events._set_running_loop(None)
            self._running = False
        return task.result()

    def _step(self) -> None:
        """Run everything that is due now; if there is nothing, go on to the next timer."""
        if not self._ready and not self._next_timer():
            raise StandstillError(f"nothing is left to do at {self._now:g} s, and the simulation has not ended")
        while self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _next_timer(self) -> bool:
        while self._timers:
            when, _, timer = heappop(self._timers)
            if not timer.cancelled():
                self._now = when
                self._ready.append(timer)
                return True
        return False

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        """asyncio tells its loop so; a cancelled timer is skipped when its time comes."""
