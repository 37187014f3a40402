"""The map between a board's clock and the run's, against clocks whose offset and drift are known."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import loopback
import pytest

from testbed.world.hardware import timeserver
from testbed.world.hardware.clock import ClockMap, ClockWatch, Moment, exchange

AHEAD = 86_400.0
DRIFT = 50e-6


def _board(host: float) -> float:
    """What the board's clock shows."""
    return (host + AHEAD) * (1 + DRIFT)


def _measured(host: float, wrong: float, error: float) -> Moment:
    """A measurement that is ``wrong``, by no more than it says."""
    return Moment(_board(host), _board(host) - host + wrong, error)


def test_a_time_is_off_by_no_more_than_the_bound() -> None:
    draw, clock, worst = random.Random(1), ClockMap(), 0.0
    for second in range(120):
        error = draw.uniform(20e-6, 60e-6)
        clock.add(_measured(1000.0 + second, draw.uniform(-error, error), error))
        for host in (1000.0 + second + part / 10 for part in range(10)):  # events come before the next measurement
            worst = max(worst, abs(clock.on_run_clock(_board(host)) - host))
    assert 0 < worst <= clock.offset.error < 1e-3
    assert worst < 1e-4 + DRIFT  # the first second alone goes without a trend


def test_between_two_measurements_a_time_lies_on_the_line() -> None:
    clock = ClockMap()
    for host in (10.0, 20.0, 21.0):
        clock.add(_measured(host, 0.0, 1e-6))
    for host in (10.0, 13.0, 19.5, 20.3, 23.0):
        assert clock.on_run_clock(_board(host)) == pytest.approx(host, abs=1e-8)


def test_a_poor_measurement_counts_only_where_the_last_is_old() -> None:
    clock = ClockMap()
    clock.add(_measured(10.0, 0.0, 1e-6))
    clock.add(_measured(11.0, 0.004, 0.005))
    assert clock.offset.error == 1e-6
    clock.add(_measured(20.0, 0.004, 0.005))
    assert clock.offset.error >= 0.005


@contextmanager
def _telling() -> Iterator[tuple[str, int]]:
    """A time server in a thread."""
    target = (loopback.address(1), loopback.free_port(socket.SOCK_DGRAM))
    threading.Thread(target=timeserver.serve, args=target, daemon=True).start()
    yield target


def test_the_clock_of_this_host_is_its_own() -> None:
    with _telling() as target:
        watch = ClockWatch(socket.socket(type=socket.SOCK_DGRAM), target)
        assert watch.begin()
        offset, now = watch.map.offset, time.monotonic()
        assert abs(offset.seconds) <= offset.error
        assert abs(watch.map.on_run_clock(now) - now) <= offset.error
        watch.stop()


def test_a_clock_that_is_ahead_is_found_so() -> None:
    with _telling() as target, socket.socket(type=socket.SOCK_DGRAM) as link:
        link.settimeout(1)
        moment = exchange(link, target, now=lambda: time.monotonic() - AHEAD)
        assert moment is not None
        assert abs(moment.offset - AHEAD) <= moment.error


def test_a_board_that_tells_no_time_has_none() -> None:
    watch = ClockWatch(socket.socket(type=socket.SOCK_DGRAM), (loopback.address(1), loopback.free_port()))
    assert not watch.begin(patience=0.1)
    watch.stop()
