"""The relay of the userspace backend: ``python -m testbed.emulation.links.relay CONTROL_FD``.

It forwards Ethernet frames between pairs of TAP devices. A frame waits until the frames before it have been sent, takes
its length divided by the bandwidth to be sent itself, and arrives the delay later. Waiting frames of all links lie in
one heap by the time at which they are due; one timer is set for the first.

It needs the standard library alone, and outlives the runner for runs that are kept: the run's journal ends it.
"""

import ctypes
import errno
import heapq
import itertools
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from testbed.emulation.links import FRAME, QUEUE_FRAMES

_FRAMES_AT_ONCE = 64  # read from one device before the others get their turn
_LARGEST_FRAME = 65535
_WITHOUT_LINKS = 2  # handlers: the control socket's and the timer's


class Wire:
    """One direction of a link, from the TAP device ``source`` to ``target``."""

    def __init__(self, source: int, target: int, bandwidth: float | None, delay: float) -> None:
        self.source = source
        self.target = target
        self.delay = delay
        self._seconds_per_byte = 8 / bandwidth if bandwidth else 0.0
        self._longest_wait = QUEUE_FRAMES * FRAME * self._seconds_per_byte
        self._free = 0.0  # when the last frame accepted so far has been sent

    def accept(self, size: int, now: float) -> float | None:
        """When a frame of ``size`` bytes that comes ``now`` arrives at the other end; None if the queue is full."""
        begin = max(now, self._free)
        if begin - now > self._longest_wait:
            return None
        self._free = begin + size * self._seconds_per_byte
        return self._free + self.delay


class Timer:
    """A timerfd: unlike the timeout of epoll, which counts whole milliseconds, it is exact to the clock."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")

    def set(self, due: float) -> None:
        """Become readable at ``due`` on CLOCK_MONOTONIC, or at once if that is past."""
        nanoseconds = max(1, int(due * 1e9))
        spec = (ctypes.c_long * 4)(0, 0, *divmod(nanoseconds, 10**9))
        absolute = 1  # TFD_TIMER_ABSTIME
        self._libc.timerfd_settime(self.descriptor, absolute, spec, None)

    def clear(self) -> None:
        """Take note that it went off."""
        try:
            os.read(self.descriptor, 8)
        except BlockingIOError:
            return


class Relay:
    """All links of a run."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._timer = Timer()
        self._flying: list[tuple[float, int, int, bytes]] = []  # due, order of arrival, target device, frame
        self._order = itertools.count()
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._watch(control.fileno(), self._take_link)
        self._watch(self._timer.descriptor, self._timer.clear)

    def run(self) -> None:
        """Forward for ever."""
        while True:
            for descriptor, _ in self._poll.poll():
                self._handlers[descriptor]()
            self._deliver()
            if self._flying:
                self._timer.set(self._flying[0][0])

    def _watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.EPOLLIN)

    def _take_link(self) -> None:
        """Take two devices and what lies between them. Go on when the runner ends, if there are links to serve."""
        order, (a, b), _, _ = self._receive()
        if not order:
            if len(self._handlers) == _WITHOUT_LINKS:
                sys.exit()
            self._poll.unregister(self._control)
            return
        link = json.loads(order)
        for wire in (Wire(a, b, **link["up"]), Wire(b, a, **link["down"])):
            self._watch(wire.source, partial(self._read, wire))
        self._control.send(b"taken")

    def _receive(self) -> tuple[bytes, tuple[int, int], int, object]:
        message, descriptors, flags, address = socket.recv_fds(self._control, 4096, 2)
        a, b = descriptors or (-1, -1)
        return message, (a, b), flags, address

    def _read(self, wire: Wire) -> None:
        for _ in range(_FRAMES_AT_ONCE):
            try:
                frame = os.read(wire.source, _LARGEST_FRAME)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EBADFD:  # the device went with its namespace
                    self._poll.unregister(wire.source)
                return
            due = wire.accept(len(frame), time.monotonic())
            if due is not None:
                heapq.heappush(self._flying, (due, next(self._order), wire.target, frame))

    def _deliver(self) -> None:
        while self._flying and self._flying[0][0] <= time.monotonic():
            _, _, target, frame = heapq.heappop(self._flying)
            with suppress(OSError):  # a device that is down, gone or full takes no frame, as a real one
                os.write(target, frame)


def main(control: int) -> None:
    """Run with as much precedence as can be had: a late relay is a wrong delay."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    Relay(socket.socket(fileno=control)).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
