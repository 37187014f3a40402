"""The thread in which a stage computes, while the event loop hears the others.

An executor of the standard library would do, but for what each call costs there: on a device that is busy, whatever is
done besides computing is time in which nothing is computed.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


class Worker:
    """Does what is ordered, one thing after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def start(self) -> None:
        """Begin; what was ordered before comes first."""
        Thread(target=self._serve, name=self._name).start()

    def stop(self) -> None:
        """End when all is done that has been ordered."""
        self._orders.put(None)

    def order(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        """What some work comes to, for who waits on the running event loop."""
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
    except Exception as error:  # whatever it is, it is for who has ordered
        settle, outcome = future.set_exception, error
    loop = future.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(_tell, future, settle, outcome)


def _tell(future: "asyncio.Future[Result]", settle: Callable[[Any], None], outcome: Result | Exception) -> None:
    if not future.done():  # who has ordered may have given up
        settle(outcome)
