"""The relay's process, with sockets in the place of TAP devices: it delivers frames and obeys orders."""

import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.schema.network.direction import Direction
from testbed.schema.network.link_trace import LinkTrace
from testbed.world.network.links.userspace import Order, OrderKind, UserspaceLinks, WireProperties, trace_files

AT_ONCE = Direction()


class Relay:
    """A relay process and one client of it."""

    def __init__(self, directory: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(directory / "relay.sock"))
            listener.listen()
            command = [sys.executable, "-m", "testbed.world.network.links.relay", str(listener.fileno())]
            self.process = subprocess.Popen(command, pass_fds=[listener.fileno()])
        self._path = str(directory / "relay.sock")
        self.client = self.connect()
        self._links = 0

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.settimeout(30)
        client.connect(self._path)
        return client

    def order(self, what: int, link: int, up: Direction, down: Direction, files: list[int]) -> int:
        """The answer: 0, or an errno."""
        order = Order(what=what, link=link)
        order.direction = (WireProperties.of(up), WireProperties.of(down))
        with trace_files(up.trace, down.trace) as traces:
            socket.send_fds(self.client, [bytes(order)], [*files, *traces])
        return int.from_bytes(self.client.recv(8), sys.byteorder, signed=True)

    def link(self, up: Direction = AT_ONCE, down: Direction = AT_ONCE) -> tuple[socket.socket, socket.socket]:
        """The outer ends of a new link."""
        (a, inner_a), (b, inner_b) = (socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
        for inner, outer in ((inner_a, a), (inner_b, b)):
            inner.setblocking(False)
            outer.settimeout(30)
        with inner_a, inner_b:
            assert self.order(OrderKind.CONNECT, self._links, up, down, [inner_a.fileno(), inner_b.fileno()]) == 0
        self._links += 1
        return a, b

    def shape(self, link: int, up: Direction = AT_ONCE, down: Direction = AT_ONCE) -> int:
        return self.order(OrderKind.SHAPE, link, up, down, [])


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    relay = Relay(tmp_path)
    yield relay
    relay.process.kill()
    relay.process.wait()


def _frames(count: int, seed: int) -> list[bytes]:
    draw = random.Random(seed)
    return [draw.randbytes(draw.choice([60, 98, 1514])) for _ in range(count)]


def _nothing_arrives(end: socket.socket) -> None:
    patience = end.gettimeout()
    end.setblocking(False)
    with pytest.raises(BlockingIOError):
        end.recv(65535)
    end.settimeout(patience)


def test_frames_arrive_whole_and_in_order_in_both_directions(relay: Relay) -> None:
    a, b = relay.link(up=Direction(bandwidth=20e6, delay=0.002))
    up, down = _frames(100, 1), _frames(100, 2)
    for there, back in zip(up, down, strict=True):
        a.send(there)
        b.send(back)
    assert [b.recv(65535) for _ in up] == up
    assert [a.recv(65535) for _ in down] == down


def test_frames_stay_on_their_own_link(relay: Relay) -> None:
    links = [relay.link() for _ in range(5)]
    for number, (a, _) in enumerate(links):
        a.send(b"link %d" % number)
    assert [b.recv(65535) for _, b in links] == [b"link %d" % number for number in range(5)]


def test_what_waits_on_one_link_holds_up_no_other(relay: Relay) -> None:
    slow, slow_end = relay.link(up=Direction(delay=3600.0))
    fast, fast_end = relay.link()
    slow.send(b"in an hour")
    fast.send(b"at once")
    assert fast_end.recv(65535) == b"at once"
    _nothing_arrives(slow_end)


def test_a_change_sends_on_what_waits(relay: Relay) -> None:
    a, b = relay.link(up=Direction(bandwidth=1e3))
    a.send(bytes(1000))
    a.send(b"next")
    assert relay.shape(0) == 0
    assert (b.recv(65535), b.recv(65535)) == (bytes(1000), b"next")


def test_a_link_with_a_trace_carries_frames_when_it_could(relay: Relay) -> None:
    """Traces arrive as file descriptors, one for each direction that has a trace."""
    in_an_hour, each_millisecond = LinkTrace("dead", (3_600_000,)), LinkTrace("alive", (1,))
    a, b = relay.link(up=Direction(trace=in_an_hour), down=Direction(trace=each_millisecond))
    a.send(b"up")
    b.send(b"down")
    assert a.recv(65535) == b"down"
    _nothing_arrives(b)
    assert relay.shape(0, up=Direction(trace=each_millisecond)) == 0
    assert b.recv(65535) == b"up"


def test_the_relay_outlives_its_clients(relay: Relay) -> None:
    """A run that is kept goes on without the process that started it, and another may change it."""
    a, b = relay.link()
    relay.client.close()
    a.send(b"still here")
    assert b.recv(65535) == b"still here"
    relay.client = relay.connect()
    assert relay.shape(0, up=Direction(cut=True)) == 0


def test_an_end_that_is_gone_takes_no_other_link_down(relay: Relay) -> None:
    a, gone = relay.link()
    gone.close()
    a.send(b"into nowhere")
    c, d = relay.link()
    c.send(b"frame")
    assert d.recv(65535) == b"frame"


def _open_files(relay: Relay) -> int:
    return len(list(Path(f"/proc/{relay.process.pid}/fd").iterdir()))


def test_orders_that_cannot_be_carried_out_are_refused_and_leave_nothing_open(relay: Relay, tmp_path: Path) -> None:
    relay.link()
    before = _open_files(relay)
    for _ in range(5):
        assert relay.order(OrderKind.CONNECT, 1, AT_ONCE, AT_ONCE, []) != 0, "no devices"
        assert relay.shape(7) != 0, "no such link"
        with (tmp_path / "file").open("w") as file:
            number = file.fileno()
            assert relay.order(OrderKind.CONNECT, 1, AT_ONCE, AT_ONCE, [number]) != 0, "one device"
            assert relay.order(OrderKind.CONNECT, 1, AT_ONCE, AT_ONCE, [number, number]) != 0, "no devices but files"
            assert relay.order(OrderKind.SHAPE, 7, AT_ONCE, AT_ONCE, [number]) != 0, "no trace, and no such link"
    assert _open_files(relay) == before
    a, b = relay.link()
    a.send(b"after all refusals")
    assert b.recv(65535) == b"after all refusals"


def test_files_that_come_with_what_needs_none_are_closed(relay: Relay) -> None:
    relay.link()
    before = _open_files(relay)
    with Path("/proc/self/stat").open() as file:
        socket.send_fds(relay.client, [bytes(Order(what=OrderKind.HEALTH))], [file.fileno()])
        assert relay.client.recv(16) == bytes(16)
        with relay.connect() as stranger:
            socket.send_fds(stranger, [b"no order"], [file.fileno()])
            assert stranger.recv(8) == b""
    assert _open_files(relay) == before


@pytest.mark.parametrize(
    "order",
    [b"noise" * 20, bytes(Order(what=OrderKind.HEALTH)) + b"more", bytes(Order(what=9))],
    ids=["noise", "too long", "of no kind"],
)
def test_what_is_no_order_ends_the_conversation_and_nothing_else(relay: Relay, order: bytes) -> None:
    a, b = relay.link()
    with relay.connect() as stranger:
        stranger.send(order)
        assert stranger.recv(8) == b""
    a.send(b"undisturbed")
    assert b.recv(65535) == b"undisturbed"


def test_a_relay_that_stands_still_is_a_failure_and_not_waited_for_without_end(relay: Relay, tmp_path: Path) -> None:
    assert UserspaceLinks(tmp_path).health([]).failure is None
    relay.process.send_signal(signal.SIGSTOP)
    links = UserspaceLinks(tmp_path, answer_timeout=0.05)
    assert links.health([]).failure == "the relay of the links did not answer within 0.05 s"
