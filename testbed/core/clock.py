"""The clock of a run, which may go slower than the host's.

In a dilated run all that nodes see takes ``dilation`` times as long: their cores and links are that much slower
(:mod:`testbed.world`), and whoever waits for something, agent or host, waits by this clock. What is read off it is
virtual time: the times of a world that runs at full speed. So a timeout is as long as it says, and nothing that is
recorded has to be converted.

All clocks of a run tell the same time, as the containers of a host share its CLOCK_MONOTONIC.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

_LONGEST_WAIT: Final = 3600.0  # seconds; epoll takes no more than 24 days, and to wake too early does no harm


@dataclass(frozen=True)
class Clock:
    """Goes ``dilation`` times slower than CLOCK_MONOTONIC."""

    dilation: float = 1.0

    def now(self) -> float:
        """Seconds, from a beginning that all clocks of the host share."""
        return self.virtual(time.monotonic())

    def virtual(self, seconds: float) -> float:
        """How long something takes by this clock that takes so many ``seconds`` by the host's."""
        return seconds / self.dilation

    def real(self, seconds: float) -> float:
        """How long something takes by the host's clock that takes so many ``seconds`` by this one."""
        return seconds * self.dilation

    def sleep(self, seconds: float) -> None:
        """Wait, without an event loop."""
        time.sleep(self.real(seconds))

    def run(self, main: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end, on an event loop that goes by this clock."""
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(main)


REAL_TIME: Final = Clock()
"""The host's own."""


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that goes by ``clock``: all timers, sleeps and timeouts on it do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        """What the clock says."""
        return self._clock.now()


class _Selector(selectors.DefaultSelector):
    """Waits for files by ``clock``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The files that are ready within so many seconds; without a time, wait until some are."""
        if timeout is None:
            return super().select()
        return super().select(min(self._clock.real(timeout), _LONGEST_WAIT))
