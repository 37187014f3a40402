"""The relay: when a frame is due, and that frames get where they must, with sockets in the place of TAP devices."""

import json
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.emulation.links import FRAME, QUEUE_FRAMES
from testbed.emulation.links.relay import Wire

AT_ONCE = {"bandwidth": None, "delay": 0.0}


def _wire(bandwidth: float | None, delay: float = 0.0) -> Wire:
    return Wire(source=0, target=1, bandwidth=bandwidth, delay=delay)


def test_a_frame_on_an_idle_wire_takes_its_size_over_the_bandwidth_and_the_delay() -> None:
    assert _wire(8e6, 0.01).accept(1000, now=5.0) == pytest.approx(5.0 + 0.001 + 0.01)


def test_a_wire_without_bandwidth_has_the_delay_alone_and_is_never_full() -> None:
    wire = _wire(None, 0.25)
    assert {wire.accept(FRAME, now=1.0) for _ in range(10 * QUEUE_FRAMES)} == {1.25}


def test_frames_that_come_together_are_sent_one_after_the_other() -> None:
    wire = _wire(8e6, 0.01)
    dues = [wire.accept(1000, now=0.0) for _ in range(4)]
    assert dues == pytest.approx([0.011, 0.012, 0.013, 0.014])


def test_a_wire_that_was_idle_saves_up_nothing() -> None:
    wire = _wire(8e6)
    assert wire.accept(1000, now=0.0) == pytest.approx(0.001)
    assert wire.accept(1000, now=9.0) == pytest.approx(9.001)


def test_the_delay_takes_up_no_bandwidth() -> None:
    wire = _wire(8e6, delay=100.0)
    assert wire.accept(1000, now=0.0) == pytest.approx(100.001)
    assert wire.accept(1000, now=0.001) == pytest.approx(100.002)


def test_a_full_queue_drops_and_takes_again_once_it_has_drained() -> None:
    wire = _wire(8e6)
    dues = [wire.accept(FRAME, now=0.0) for _ in range(QUEUE_FRAMES + 10)]
    taken = [due for due in dues if due is not None]
    assert dues[: len(taken)] == taken, "what is dropped comes last"
    assert len(taken) in (QUEUE_FRAMES, QUEUE_FRAMES + 1), "the last falls on the very edge"
    assert taken[-1] == pytest.approx(len(taken) * FRAME * 8 / 8e6)
    assert wire.accept(FRAME, now=taken[1]) is not None


@pytest.mark.parametrize("seed", range(10))
def test_no_more_than_the_bandwidth_passes_and_nothing_overtakes(seed: int) -> None:
    draw = random.Random(seed)
    bandwidth, delay = draw.uniform(1e5, 1e9), draw.uniform(0, 0.1)
    wire, now, before = _wire(bandwidth, delay), 0.0, 0.0
    for _ in range(500):
        now += draw.expovariate(bandwidth / 8 / 800)
        size = draw.randint(60, FRAME)
        due = wire.accept(size, now)
        if due is not None:
            assert due >= now + delay + size * 8 / bandwidth - 1e-9
            assert due >= before + size * 8 / bandwidth - 1e-9
            before = due


Pair = tuple[socket.socket, socket.socket]


class Relayed:
    """A relay in a process of its own, without the precedence that needs root."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = "import socket, sys; from testbed.emulation.links.relay import Relay;"
        program += "Relay(socket.socket(fileno=int(sys.argv[1]))).run()"
        with theirs:
            command = [sys.executable, "-c", program, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self._ends: list[socket.socket] = [self.control]

    def link(self, up: dict[str, Any] = AT_ONCE, down: dict[str, Any] = AT_ONCE) -> Pair:
        """The outer ends of a new link."""
        (a, inner_a), (b, inner_b) = (socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
        for inner in (inner_a, inner_b):
            inner.setblocking(False)
        for outer in (a, b):
            outer.settimeout(30)
        with inner_a, inner_b:
            order = json.dumps({"up": up, "down": down}).encode()
            socket.send_fds(self.control, [order], [inner_a.fileno(), inner_b.fileno()])
            assert self.control.recv(16) == b"taken"
        self._ends += [a, b]
        return a, b

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for end in self._ends:
            end.close()

    @property
    def lives(self) -> bool:
        return self._process.poll() is None


@pytest.fixture
def relay() -> Iterator[Relayed]:
    relayed = Relayed()
    yield relayed
    relayed.end()


def _frames(count: int, seed: int = 0) -> list[bytes]:
    draw = random.Random(seed)
    return [draw.randbytes(draw.choice([60, 98, FRAME])) for _ in range(count)]


def test_frames_arrive_whole_and_in_order_in_both_directions(relay: Relayed) -> None:
    a, b = relay.link()
    up, down = _frames(100, 1), _frames(100, 2)
    for there, back in zip(up, down, strict=True):
        a.send(there)
        b.send(back)
    assert [b.recv(65535) for _ in up] == up
    assert [a.recv(65535) for _ in down] == down


def test_frames_stay_on_their_own_link(relay: Relayed) -> None:
    links = [relay.link() for _ in range(3)]
    for number, (a, _) in enumerate(links):
        a.send(b"link %d" % number)
    assert [b.recv(65535) for _, b in links] == [b"link 0", b"link 1", b"link 2"]


def test_a_frame_on_a_fast_link_overtakes_one_on_a_slow_link(relay: Relayed) -> None:
    """Both cross to the same end: the slow link's frame is handed on to the fast one only when it is due."""
    slow_a, slow_b = relay.link(up={"bandwidth": None, "delay": 0.3})
    fast_a, fast_b = relay.link()
    slow_a.send(b"slow")
    fast_a.send(b"fast")
    assert fast_b.recv(65535) == b"fast"
    slow_b.setblocking(False)
    with pytest.raises(BlockingIOError):
        slow_b.recv(65535)
    slow_b.settimeout(30)
    assert slow_b.recv(65535) == b"slow"


def test_each_direction_has_its_own_shape(relay: Relayed) -> None:
    a, b = relay.link(up={"bandwidth": None, "delay": 3600.0})
    a.send(b"up, in an hour")
    b.send(b"down, at once")
    assert a.recv(65535) == b"down, at once"
    b.setblocking(False)
    with pytest.raises(BlockingIOError):
        b.recv(65535)


def test_a_slow_link_keeps_the_order_of_a_burst(relay: Relayed) -> None:
    a, b = relay.link(up={"bandwidth": 20e6, "delay": 0.002})
    burst = _frames(100, 3)
    for frame in burst:
        a.send(frame)
    assert [b.recv(65535) for _ in burst] == burst


def test_the_relay_outlives_its_runner(relay: Relayed) -> None:
    """A run that is kept goes on without the process that started it."""
    a, b = relay.link()
    relay.control.close()
    a.send(b"still here")
    assert b.recv(65535) == b"still here"
    assert relay.lives


def test_an_end_that_is_gone_takes_no_other_link_down(relay: Relayed) -> None:
    a, gone = relay.link()
    gone.close()
    a.send(b"into nowhere")
    c, d = relay.link()
    c.send(b"frame")
    assert d.recv(65535) == b"frame"
