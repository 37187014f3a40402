"""What is refused at the door because nobody of the run has sent it."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

Traffic = Literal["requests", "datagrams", "streams", "handshakes"]

Report = Callable[[Traffic, str, int], None]
"""Told what kind of traffic was refused, the reason of the last refusal, and the number since the last report."""

_EVERY: Final = 1.0  # seconds between two reports: who floods a node must not flood its log


class UnauthenticatedError(Exception):
    """Something does not come from the node that it names, or has come before."""


class Refusals:
    """Counts refusals, and reports each kind of traffic at most once a second. None is left out of the count."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._counts: Counter[Traffic] = Counter()
        self._reasons: dict[Traffic, str] = {}
        self._timers: dict[Traffic, asyncio.TimerHandle] = {}

    def note(self, traffic: Traffic, reason: str) -> None:
        """Count one refusal."""
        self._counts[traffic] += 1
        self._reasons[traffic] = reason
        if traffic not in self._timers:
            self._tell(traffic)

    def close(self) -> None:
        """Report what has not been reported."""
        for traffic, timer in self._timers.items():
            timer.cancel()
            self._tell_rest(traffic)
        self._timers.clear()

    def _tell(self, traffic: Traffic) -> None:
        """Report, unless there is nothing; then the next refusal is reported at once."""
        self._timers.pop(traffic, None)
        if self._tell_rest(traffic):
            self._timers[traffic] = asyncio.get_running_loop().call_later(_EVERY, self._tell, traffic)

    def _tell_rest(self, traffic: Traffic) -> bool:
        count = self._counts.pop(traffic, 0)
        if count:
            self._report(traffic, self._reasons[traffic], count)
        return count > 0
