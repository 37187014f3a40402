"""The clock of a board, measured over the cable.

    host   t1 ─────────╮                 ╭─────────► t4       offset of the board's clock: ((t2 - t1) + (t3 - t4)) / 2
    board              ╰► t2 ─────── t3 ─╯                    its largest error:           ((t4 - t1) - (t3 - t2)) / 2

The error is half of the time that question and reply take together, since nobody knows how it is divided between them
(RFC 5905, section 8). So of many exchanges the quickest counts. Clocks drift by tens of microseconds a second, so an
exchange is good for a moment. The map between the clocks is piecewise: a line between every two moments, and from the
last one on the line through the last seconds.
"""

import bisect
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from testbed.world.nodes.handle import ClockOffset

_REQUEST: Final = struct.Struct("!d")
_REPLY: Final = struct.Struct("!ddd")
_EXCHANGES: Final = 30  # of which the quickest counts
_GAP: Final = 0.002  # seconds between two
_PERIOD: Final = 1.0  # seconds from one measurement to the next
_PATIENCE: Final = 0.2  # seconds for a reply
_TREND: Final = 10.0  # seconds through which the line into the future is drawn
_GOOD: Final = 0.0002  # seconds of error up to which a measurement is taken at once
_OLD: Final = 5.0  # seconds after which any is


@dataclass(frozen=True)
class Moment:
    """One measurement: when the board's clock showed ``board``, it was ``offset`` ahead of the host's, ± ``error``."""

    board: float
    offset: float
    error: float


class ClockMap:
    """The times of a board's clock on the host's. Safe to be read by one thread while another one adds to it."""

    def __init__(self) -> None:
        self._moments: list[Moment] = []
        self._worst = 0.0

    def add(self, moment: Moment) -> None:
        """Take in a later measurement, unless it is a poor one and the last is not old."""
        if self._moments:
            predicted, age = self.offset_at(moment.board), moment.board - self._moments[-1].board
            if moment.error > _GOOD and age < _OLD:
                return
            # Events until now went by the prediction.
            self._worst = max(self._worst, abs(predicted - moment.offset) + moment.error)
        else:
            self._worst = moment.error
        self._moments = [*self._moments, moment]

    def offset_at(self, board: float) -> float:
        """How far the board's clock is ahead of the host's when it shows ``board``."""
        moments = self._moments
        after = bisect.bisect([moment.board for moment in moments], board)
        if after == 0:
            return moments[0].offset
        if after < len(moments):
            return _between(moments[after - 1], moments[after], board)
        last = moments[-1]
        first = next(moment for moment in moments if moment.board >= last.board - _TREND)
        return last.offset if first is last else last.offset + _slope(first, last) * (board - last.board)

    def on_run_clock(self, board: float) -> float:
        """A time of the board's clock on the run's, which is the host's."""
        return board - self.offset_at(board)

    @property
    def offset(self) -> ClockOffset:
        """The latest offset, and the largest error of any time that was mapped so far."""
        return ClockOffset(self._moments[-1].offset, self._worst)


def _slope(first: Moment, last: Moment) -> float:
    return (last.offset - first.offset) / (last.board - first.board)


def _between(before: Moment, after: Moment, board: float) -> float:
    return before.offset + _slope(before, after) * (board - before.board)


def exchange(link: socket.socket, target: tuple[str, int], now: Callable[[], float] = time.monotonic) -> Moment | None:
    """One measurement: the quickest of several exchanges; None if no reply comes."""
    moments = filter(None, (_exchange_once(link, target, now) for _ in range(_EXCHANGES)))
    return min(moments, key=lambda moment: moment.error, default=None)


def _exchange_once(link: socket.socket, target: tuple[str, int], now: Callable[[], float]) -> Moment | None:
    time.sleep(_GAP)
    sent = now()
    with contextlib.suppress(OSError):  # no reply in time, or the board refuses the datagram
        link.sendto(_REQUEST.pack(sent), target)
        while True:
            reply = link.recv(_REPLY.size)
            received = now()
            if len(reply) == _REPLY.size:
                asked, arrived, left = _REPLY.unpack(reply)
                if asked == sent:
                    error = ((received - sent) - (left - arrived)) / 2
                    return Moment((arrived + left) / 2, ((arrived - sent) + (left - received)) / 2, error)
    return None


class ClockWatch:
    """Measures a board's clock every second, in a thread of its own, until it is stopped."""

    def __init__(self, link: socket.socket, target: tuple[str, int]) -> None:
        """``link`` is a UDP socket that reaches ``target``, where the board tells its time."""
        link.settimeout(_PATIENCE)
        self.map = ClockMap()
        self._link, self._target = link, target
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def begin(self, patience: float = 10.0) -> bool:
        """Measure once, and every second from then on; whether the board tells its time within ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while _exchange_once(self._link, self._target, time.monotonic) is None:
            if time.monotonic() > deadline:
                return False
        if (first := exchange(self._link, self._target)) is None:
            return False
        self.map.add(first)
        self._thread.start()
        return True

    def stop(self) -> None:
        """Measure no more."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._link.close()

    def _watch(self) -> None:
        while not self._stopped.wait(_PERIOD):
            if (moment := exchange(self._link, self._target)) is not None:
                self.map.add(moment)
