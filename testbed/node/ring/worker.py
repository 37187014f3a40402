"""The thread in which a stage computes, beside the event loop.

``ThreadPoolExecutor`` would do the same at a higher cost per call, and on a busy device that cost is time in which
nothing is computed.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


class Worker:
    """Runs functions one after the other in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def start(self) -> None:
        """Start the thread. Functions that were ordered before run first."""
        Thread(target=self._serve, name=self._name).start()

    def stop(self) -> None:
        """End the thread once every function that was ordered has run."""
        self._orders.put(None)

    def order(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        """The future result of ``work``, for the running event loop."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._orders.put(partial(_do, work, future))
        return future

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            order()


def _do(work: Callable[[], Result], future: "asyncio.Future[Result]") -> None:
    try:
        settle: Callable[[Any], None] = future.set_result
        outcome: Result | Exception = work()
    except Exception as error:  # any error belongs to the caller
        settle, outcome = future.set_exception, error
    loop = future.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(_tell, future, settle, outcome)


def _tell(future: "asyncio.Future[Result]", settle: Callable[[Any], None], outcome: Result | Exception) -> None:
    if not future.done():  # the caller may have cancelled it
        settle(outcome)
