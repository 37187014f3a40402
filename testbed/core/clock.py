"""The clock of a run, which may run slower than the host's.

In a dilated run everything takes ``dilation`` times as long: cores and links are slower by that factor
(:mod:`testbed.world`), and both agents and host wait by this clock. It shows virtual time, that of a world at full
speed. So timeouts and recorded times need no conversion.

All clocks of a run show the same time, because the containers of a host share its CLOCK_MONOTONIC.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

_LONGEST_WAIT: Final = 3600.0  # seconds; epoll refuses more than 24 days, and the loop tolerates an early return


@dataclass(frozen=True)
class Clock:
    """A clock that runs ``dilation`` times slower than CLOCK_MONOTONIC."""

    dilation: float = 1.0

    def now(self) -> float:
        """Virtual seconds since an origin that all clocks of the host share."""
        return self.virtual(time.monotonic())

    def virtual(self, seconds: float) -> float:
        """The virtual seconds in ``seconds`` of the host's clock."""
        return seconds / self.dilation

    def real(self, seconds: float) -> float:
        """The seconds of the host's clock in ``seconds`` of this one."""
        return seconds * self.dilation

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for that many virtual seconds."""
        time.sleep(self.real(seconds))

    def run(self, main: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on a new event loop whose timers follow this clock, and return its result."""
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(main)


REAL_TIME: Final = Clock()
"""The clock without dilation."""


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers, sleeps and timeouts are in the seconds of ``clock``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        """Virtual seconds."""
        return self._clock.now()


class _Selector(selectors.DefaultSelector):
    """A selector whose timeouts are in the seconds of ``clock``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The files that are ready within ``timeout`` virtual seconds; None waits until one is ready."""
        if timeout is None:
            return super().select()
        return super().select(min(self._clock.real(timeout), _LONGEST_WAIT))
