"""What every link backend must do. A lane subclasses the suite for each backend that it can run.

The links are measured from outside: with ping, and with bytes and numbered datagrams sent through sockets. The tests
hold on a busy host as well: a measurement that such a host may disturb is repeated, and one repetition must fit.
"""

import random
import re
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import groupby
from math import inf, sqrt
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from testbed.core.clock import REAL_TIME, Clock
from testbed.core.errors import SpecError
from testbed.host.namespace import Namespace
from testbed.schema.network.direction import Direction, Jitter, Loss, Queue
from testbed.schema.network.link import DIRECTIONS, DirectionName, Link
from testbed.world.journal import Journal
from testbed.world.network.links.backend import End, LinkBackend
from testbed.world.network.links.running import RunningLinks

FULL_FRAME = 1514
ETHERNET_TCP_PAYLOAD = 1448  # bytes of payload in a full frame, with TCP timestamps
HEADERS = 42  # bytes of Ethernet, IP and UDP before a datagram's payload

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h; the socket module has them not

REPETITIONS = 5
EARLY = 0.5  # ms by which a frame may be early: the relay dates frames back by the estimated delay of its wake-up

PLAIN = Direction()
NORMAL_TAILS = 3.3  # standard deviations, outside of which one measurement in a thousand falls by chance


def undisturbed(check: Callable[[], None]) -> None:
    """Repeat a check until it passes: a busy host disturbs some measurements, a wrong link spoils all of them."""
    for _ in range(REPETITIONS - 1):
        with suppress(AssertionError):
            return check()
    return check()


class Laboratory:
    """Hosts and the links between them. The host called ``a`` is 10.0.0.1, ``b`` 10.0.0.2, and so on."""

    def __init__(self, backend: LinkBackend, journal: Journal, directory: Path, clock: Clock) -> None:
        self._journal = journal
        self.links = RunningLinks.begin(backend, journal, directory, seed=7, clock=clock)
        self._hosts: dict[str, Namespace] = {}

    def namespace(self, name: str) -> Namespace:
        """The host called ``name``, which is made when it is first asked for; it goes with the journal."""
        if name not in self._hosts:
            unique = f"test-{uuid.uuid4().hex[:8]}"
            self._journal.record("namespace", unique)
            self._hosts[name] = Namespace.create(unique)
            with self._hosts[name].entered():
                setting = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
                if setting.exists():
                    setting.write_text("1")
        return self._hosts[name]

    def address(self, host: str) -> str:
        return f"10.0.0.{ord(host) - ord('a') + 1}"

    def join(self, up: Direction, down: Direction) -> None:
        """A link straight from ``a`` to ``b``."""
        self.links.connect(Link("a", "b", up, down), *(self._end(host) for host in "ab"))
        for host in "ab":
            self._configure(host)

    def change(self, said: dict[str, Any], *directions: DirectionName) -> None:
        """Change what is said of the link straight from ``a`` to ``b``, in both directions or those named."""
        self.links.change("a-b", dict.fromkeys(directions or DIRECTIONS, said))

    def join_by_bridge(self, **directions: Direction) -> None:
        """A link from each host to one bridge, alike in both directions."""
        bridge = self.namespace("s1")
        with bridge.entered(), IPRoute() as ip:
            ip.link("add", ifname="s1", kind="bridge", br_mcast_snooping=0, state="up")
        for host, direction in directions.items():
            port = f"s1-{host}"
            link = Link(host, "s1", direction, direction)
            self.links.connect(link, self._end(host), End(port, bridge))
            self._configure(host)
            with bridge.entered(), IPRoute() as ip:
                master = ip.link_lookup(ifname="s1")[0]
                ip.link("set", index=ip.link_lookup(ifname=port)[0], master=master, state="up")

    def _end(self, host: str) -> End:
        """Where a link to a host ends."""
        return End("eth0", self.namespace(host))

    def _configure(self, host: str) -> None:
        with self.namespace(host).entered(), IPRoute() as ip:
            index = ip.link_lookup(ifname="eth0")[0]
            ip.addr("add", index=index, address=self.address(host), prefixlen=24)
            ip.link("set", index=index, state="up")

    def ping(self, source: str, target: str, *options: str) -> str:
        """The output of ping from one host to another, once each knows where the other is."""
        command = ["ping", "-n", "-q", "-W", "5", self.address(target)]
        with self.namespace(source).entered():
            subprocess.run([*command, "-c", "1"], check=False, capture_output=True)
            return subprocess.run([*command, *options], check=False, capture_output=True, text=True).stdout

    def round_trip(self, source: str, target: str, payload: int = 56) -> float:
        """Milliseconds of the fastest of twenty pings: what the link takes, without what the host adds now and then."""
        output = self.ping(source, target, "-c", "20", "-i", "0.05", "-s", str(payload))
        return float(output.rsplit("=", 1)[1].split("/")[0])

    def assert_round_trip(self, least: float, most: float, payload: int = 56) -> None:
        """A round trip between ``a`` and ``b`` takes from ``least`` to ``most`` milliseconds."""

        def check() -> None:
            assert least - EARLY <= self.round_trip("a", "b", payload) <= most

        undisturbed(check)

    def assert_bulk_rate(self, least: float, most: float, size: int, source: str = "a", target: str = "b") -> None:
        """TCP payload arrives at ``least`` to ``most`` Mbit/s."""

        def check() -> None:
            assert least <= self.bulk_rate(source, target, size) <= most

        undisturbed(check)

    def bulk_rate(self, source: str, target: str, size: int) -> float:
        """Mbit/s at which TCP payload of ``size`` bytes arrives, once a third has come: TCP starts slowly."""
        with self.namespace(target).entered():
            server = socket.create_server(("", 5001))
        with self.namespace(source).entered():
            client = socket.create_connection((self.address(target), 5001))
        sender = threading.Thread(target=lambda: (client.sendall(bytes(size)), client.close()))
        with server, server.accept()[0] as receiver:
            sender.start()
            received, first, begin = 0, 0, 0.0
            while chunk := receiver.recv(65536):
                received += len(chunk)
                if not first and received >= size / 3:
                    first, begin = received, time.monotonic()
            seconds = time.monotonic() - begin
        sender.join()
        assert received == size
        return (received - first) * 8 / seconds / 1e6

    @contextmanager
    def datagrams(self) -> Iterator["Datagrams"]:
        """Numbered datagrams from ``a`` to ``b``."""
        self.ping("a", "b", "-c", "1")
        with self.namespace("b").entered():
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 2**25)
            receiver.bind(("", 5002))
        with self.namespace("a").entered():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sender.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 2**25)
            sender.connect((self.address("b"), 5002))
        with sender, receiver:
            yield Datagrams(sender, receiver)

    def received(self, host: str) -> int:
        """Bytes that have come in at a host."""
        with self.namespace(host).entered(), IPRoute() as ip:
            (interface,) = ip.get_links(ifname="eth0")
            return int(interface.get_attr("IFLA_STATS64")["rx_bytes"])


class Datagrams:
    """Datagrams that carry their number, from 0."""

    def __init__(self, sender: socket.socket, receiver: socket.socket) -> None:
        self._sender = sender
        self._receiver = receiver
        self._count = 0

    def send(self, count: int, size: int = 100, interval: float = 0.0) -> None:
        """Send ``count`` of them with ``size`` bytes of payload."""
        due = time.monotonic()
        for _ in range(count):
            while time.monotonic() < due:
                time.sleep(0)
            self._sender.send(self._count.to_bytes(4).ljust(size, b"\0"))
            self._count += 1
            due += interval

    def received(self, silence: float = 1.0) -> list[int]:
        """The numbers of all that come, in their order, until none has come for so many seconds."""
        self._receiver.settimeout(silence)
        numbers = []
        try:
            while True:
                numbers.append(int.from_bytes(self._receiver.recv(65536)[:4]))
        except TimeoutError:
            return numbers

    def first(self, timeout: float = 10.0) -> float:
        """When the next one comes, on CLOCK_MONOTONIC."""
        self._receiver.settimeout(timeout)
        self._receiver.recv(65536)
        return time.monotonic()


def lost_share(ping: str) -> float:
    """What ping says of packet loss, from 0 to 1."""
    match = re.search(r"([\d.]+)% packet loss", ping)
    assert match, ping
    return float(match[1]) / 100


def deviation(ping: str) -> float:
    """Milliseconds: ping's mdev, which is the standard deviation of the round trips."""
    return float(ping.rsplit("/", 1)[1].split()[0])


class LinkConformance:
    """The suite. ``backend`` is what a subclass puts to the test."""

    backend: LinkBackend

    @pytest.fixture
    def clock(self) -> Clock:
        """What the links go by; a test of its own can have another."""
        return REAL_TIME

    @pytest.fixture
    def laboratory(self, tmp_path: Path, clock: Clock) -> Iterator[Laboratory]:
        journal = Journal.begin()
        try:
            yield Laboratory(self.backend, journal, tmp_path, clock)
        finally:
            journal.undo()

    # Rate, delay, queue

    def test_two_hops_of_ten_milliseconds_make_a_round_trip_of_forty(self, laboratory: Laboratory) -> None:
        direction = Direction(bandwidth=10e6, delay=0.010)
        laboratory.join_by_bridge(a=direction, b=direction)
        serialisation = 4 * 98 * 8 / 10e6 * 1e3
        # A hop that is missed or taken twice makes a difference of 10 ms; a relay on a busy host, one of 3.
        laboratory.assert_round_trip(40 + serialisation, 45 + serialisation)

    @pytest.mark.parametrize("delay", [0.001, 0.1])
    def test_a_bulk_transfer_gets_the_bandwidth(self, laboratory: Laboratory, delay: float) -> None:
        direction = Direction(bandwidth=10e6, delay=delay)
        laboratory.join(direction, direction)
        laboratory.assert_bulk_rate(9, 10 * ETHERNET_TCP_PAYLOAD / FULL_FRAME + 0.1, 6_000_000)

    def test_a_frame_takes_its_size_divided_by_the_bandwidth(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(bandwidth=1e6), PLAIN)

        def check() -> None:
            small, large = (laboratory.round_trip("a", "b", size) for size in (56, 1056))
            assert 7.5 <= large - small <= 9  # 1,000 bytes more at 1 Mbit/s in one direction: 8 ms

        undisturbed(check)

    def test_directions_differ(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(bandwidth=8e6, delay=0.005), Direction(bandwidth=4e6, delay=0.015))
        laboratory.assert_round_trip(20, 22)
        laboratory.assert_bulk_rate(3.6, 4, 2_000_000, "b", "a")
        laboratory.assert_bulk_rate(7.2, 8, 4_000_000, "a", "b")

    def test_without_limits_there_are_none(self, laboratory: Laboratory) -> None:
        laboratory.join(PLAIN, PLAIN)
        laboratory.assert_round_trip(0, 2)
        laboratory.assert_bulk_rate(20, inf, 20_000_000)

    def test_the_counters_count_the_headers_of_every_frame(self, laboratory: Laboratory) -> None:
        direction = Direction(bandwidth=10e6, delay=0.001)
        laboratory.join(direction, direction)
        before = laboratory.received("b")
        laboratory.bulk_rate("a", "b", 1_000_000)
        on_the_wire = 1_000_000 * FULL_FRAME / ETHERNET_TCP_PAYLOAD
        assert on_the_wire <= laboratory.received("b") - before <= 1.02 * on_the_wire

    def test_nothing_is_lost_doubled_or_overtaken(self, laboratory: Laboratory) -> None:
        direction = Direction(bandwidth=10e6, delay=0.005)
        laboratory.join(direction, direction)
        with laboratory.datagrams() as datagrams:
            datagrams.send(900, size=FULL_FRAME - HEADERS)
            assert datagrams.received() == list(range(900))

    @pytest.mark.parametrize(
        ("queue", "fitting"),
        [(Queue(packets=20), 20), (Queue(bytes=20 * FULL_FRAME), 20), (Queue(seconds=20 * FULL_FRAME * 8 / 2e5), 20)],
        ids=["packets", "bytes", "time"],
    )
    def test_what_the_queue_has_no_room_for_is_dropped(
        self, laboratory: Laboratory, queue: Queue, fitting: int
    ) -> None:
        laboratory.join(Direction(bandwidth=2e5, queue=queue), PLAIN)
        with laboratory.datagrams() as datagrams:
            begin = time.monotonic()
            datagrams.send(100, size=FULL_FRAME - HEADERS)
            sent_meanwhile = (time.monotonic() - begin) * 2e5 / 8 / FULL_FRAME
            arrived = datagrams.received()
        assert fitting <= len(arrived) <= fitting + 3 + sent_meanwhile
        assert arrived[:fitting] == list(range(fitting))

    def test_what_a_queue_drops_is_not_lost_unasked(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(bandwidth=10e6, delay=0.001, queue=Queue(packets=5)), PLAIN)
        laboratory.links.health()
        with laboratory.datagrams() as datagrams:
            datagrams.send(200)
            datagrams.received()
        health = laboratory.links.health()
        assert (health.failure, health.lost) == (None, {}), "what the queue drops was asked for"

    # Chance

    @pytest.mark.parametrize(("distribution", "pings"), [("normal", 500), ("uniform", 300), ("pareto", 1200)])
    def test_the_delay_has_the_deviation_that_is_asked_for(
        self, laboratory: Laboratory, distribution: str, pings: int
    ) -> None:
        # So many that 15 % are four standard deviations of what is measured: a Pareto's tail is long.
        jitter = Jitter(0.004, distribution)  # type: ignore[arg-type]
        laboratory.join(Direction(delay=0.020, jitter=jitter), PLAIN)

        def check() -> None:
            output = laboratory.ping("a", "b", "-c", str(pings), "-i", "0.015")
            assert 0.85 * 4 <= deviation(output) <= 1.15 * 4
            mean = float(output.rsplit("=", 1)[1].split("/")[1])
            assert 19.3 <= mean <= 21.6

        undisturbed(check)

    def test_jitter_lets_nothing_overtake(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(delay=0.010, jitter=Jitter(0.008)), PLAIN)
        with laboratory.datagrams() as datagrams:
            datagrams.send(2000, interval=0.0002)
            assert datagrams.received() == list(range(2000))

    def test_frames_are_lost_independently(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(delay=0.001, loss=Loss(in_good=0.05)), PLAIN)
        with laboratory.datagrams() as datagrams:
            datagrams.send(10_000, interval=0.0001)
            arrived = datagrams.received()
        assert abs(1 - len(arrived) / 10_000 - 0.05) <= NORMAL_TAILS * sqrt(0.05 * 0.95 / 10_000)
        assert 1.0 <= mean_gap(arrived) <= 1.12  # in a row: 1 ÷ (1 − 0.05)

    def test_frames_are_lost_in_bursts(self, laboratory: Laboratory) -> None:
        loss = Loss(to_bad=0.02, to_good=0.25)
        laboratory.join(Direction(delay=0.001, loss=loss), PLAIN)
        with laboratory.datagrams() as datagrams:
            datagrams.send(20_000, interval=0.0001)
            arrived = datagrams.received()
        assert abs(1 - len(arrived) / 20_000 - loss.mean) <= 0.018  # 3.5 standard deviations of such bursts
        assert 3.3 <= mean_gap(arrived) <= 4.7  # in a row: 1 ÷ 0.25

    def test_some_frames_come_twice(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(delay=0.001, duplicate=0.1), PLAIN)
        with laboratory.datagrams() as datagrams:
            datagrams.send(5000, interval=0.0002)
            arrived = datagrams.received()
        assert set(arrived) == set(range(5000))
        assert abs(len(arrived) / 5000 - 1.1) <= NORMAL_TAILS * sqrt(0.1 * 0.9 / 5000)

    def test_some_frames_overtake_what_is_on_its_way(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(delay=0.200, reorder=0.1), PLAIN)
        with laboratory.datagrams() as datagrams:
            datagrams.send(5000, interval=0.0002)
            arrived = datagrams.received()
        assert sorted(arrived) == list(range(5000))
        place = {number: index for index, number in enumerate(arrived)}
        overtaking = sum(place[number] < number - 20 for number in range(1000, 5000))  # by all of the last 200 ms
        assert abs(overtaking / 4000 - 0.1) <= NORMAL_TAILS * sqrt(0.1 * 0.9 / 4000)

    def test_a_frame_with_a_wrong_bit_is_not_taken_for_a_good_one(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(delay=0.001, corrupt=0.2), PLAIN)
        output = laboratory.ping("a", "b", "-c", "1000", "-i", "0.002")
        assert 0.12 <= lost_share(output) <= 0.25  # a bit of the header may be wrong that nobody looks at

    # Change

    def test_a_link_is_reshaped_while_it_runs(self, laboratory: Laboratory) -> None:
        direction = Direction(delay=0.100)
        laboratory.join(direction, direction)
        laboratory.assert_round_trip(200, 205)
        laboratory.change({"delay": 0.010})
        laboratory.assert_round_trip(20, 21)

    def test_a_change_leaves_what_it_does_not_name(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(delay=0.020, jitter=Jitter(0.001)), Direction(delay=0.030))
        laboratory.change({"delay": 0.005}, "down")
        laboratory.assert_round_trip(23, 27)
        laboratory.change({"bandwidth": 1e6}, "up")

        def check() -> None:
            assert 2.5 <= laboratory.round_trip("a", "b", 1056) - laboratory.round_trip("a", "b") <= 13

        undisturbed(check)
        laboratory.change({"bandwidth": None, "jitter": Jitter()}, "up")
        laboratory.assert_round_trip(25, 26, payload=1056)

    def test_what_waits_is_sent_at_the_new_rate(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(bandwidth=1e5), PLAIN)
        with laboratory.datagrams() as datagrams:
            datagrams.send(200, size=FULL_FRAME - HEADERS)  # 24 s at 100 kbit/s
            laboratory.change({"bandwidth": None})
            begin = time.monotonic()
            assert datagrams.received(silence=3.0) == list(range(200))
            assert time.monotonic() - begin < 20  # of which 3 s are silence

    def test_a_link_that_is_cut_carries_nothing_until_it_is_mended(self, laboratory: Laboratory) -> None:
        direction = Direction(delay=0.001)
        laboratory.join(direction, direction)
        with laboratory.datagrams() as datagrams:
            laboratory.change({"cut": True}, "up")
            datagrams.send(100, interval=0.0005)
            laboratory.change({"cut": False}, "up")
            datagrams.send(100, interval=0.0005)
            assert datagrams.received() == list(range(100, 200))

    def test_another_process_may_change_the_links(self, laboratory: Laboratory, tmp_path: Path) -> None:
        laboratory.join(PLAIN, PLAIN)
        laboratory.links.publish()
        RunningLinks.attach(tmp_path).change("a-b", {"up": {"delay": 0.040}})
        laboratory.assert_round_trip(40, 42)
        laboratory.change({"delay": 0.010}, "down")
        laboratory.assert_round_trip(50, 52)
        (link,) = (wiring.link for wiring in RunningLinks.attach(tmp_path).current())
        assert (link.up.delay, link.down.delay) == (0.040, 0.010)

    def test_what_cannot_be_is_refused_and_changes_nothing(self, laboratory: Laboratory) -> None:
        laboratory.join(Direction(delay=0.010, jitter=Jitter(0.005)), PLAIN)
        with pytest.raises(SpecError, match="jitter"):
            laboratory.change({"delay": 0.001})
        with pytest.raises(SpecError, match=r"a-c.*a-b"):
            laboratory.links.change("a-c", {"up": {"delay": 0.001}})
        assert laboratory.links.current()[0].link.up.delay == 0.010

    def test_many_changes_under_load_lose_and_reorder_nothing(self, laboratory: Laboratory) -> None:
        change_under_load(laboratory, 100)


def change_under_load(laboratory: Laboratory, changes: int) -> None:
    """Change a link at random ``changes`` times while it carries datagrams: all arrive, in their order."""
    draw = random.Random(1)
    laboratory.join(Direction(bandwidth=50e6, delay=0.002), PLAIN)

    def change_again_and_again() -> None:
        for _ in range(changes):
            delay = draw.choice([0.0, draw.uniform(0, 0.01)])
            bandwidth = draw.choice([None, draw.uniform(20e6, 100e6)])
            jitter = Jitter(draw.uniform(0, delay), draw.choice(["normal", "uniform", "pareto"]))
            said = {"delay": delay, "bandwidth": bandwidth, "jitter": jitter, "queue": Queue(packets=5000)}
            laboratory.change(said, "up")

    with laboratory.datagrams() as datagrams, ThreadPoolExecutor(2) as beside:
        changing = beside.submit(change_again_and_again)
        received = beside.submit(datagrams.received, silence=5.0)
        sent = 0
        while not changing.done():
            datagrams.send(100, size=1000, interval=0.001)
            sent += 100
        changing.result()
        assert received.result() == list(range(sent))
    assert laboratory.links.current()[0].changes == changes


def mean_gap(arrived: list[int]) -> float:
    """How many numbers in a row are missing, where some are."""
    present = set(arrived)
    runs = [len(list(run)) for there, run in groupby(range(max(present)), present.__contains__) if not there]
    return sum(runs) / len(runs)
