"""What every link backend must do, whatever it is made of. A lane subclasses this for each backend that it can run.

The links are looked at from outside: with ping, and with bytes sent through a socket.
"""

import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from pyroute2 import IPRoute

from testbed.emulation.journal import Journal
from testbed.emulation.links.backend import End, LinkBackend, Links
from testbed.emulation.namespace import Namespace
from testbed.spec.link import Direction, Link

FULL_FRAME = 1514
ETHERNET_TCP_PAYLOAD = 1448  # bytes of payload in a full frame, with TCP timestamps


@dataclass
class Laboratory:
    """Hosts on a bridge, each with a link of its own: ``a`` is 10.0.0.1, ``b`` 10.0.0.2."""

    journal: Journal
    links: Links
    switch: Namespace
    hosts: dict[str, Namespace] = field(default_factory=dict)

    def add_host(self, name: str, up: Direction, down: Direction) -> None:
        """A host whose link is ``up`` towards the bridge and ``down`` from it."""
        number = len(self.hosts) + 1
        host = self.hosts[name] = make_namespace(self.journal)
        port = f"s1-eth{number}"
        with self.switch.entered():
            self.links.connect(Link(name, "s1", up, down), End("eth0", host), End(port, self.switch))
        with host.entered(), IPRoute() as ip:
            index = ip.link_lookup(ifname="eth0")[0]
            ip.addr("add", index=index, address=f"10.0.0.{number}", prefixlen=24)
            ip.link("set", index=index, state="up")
        with self.switch.entered(), IPRoute() as ip:
            bridge = ip.link_lookup(ifname="s1")[0]
            ip.link("set", index=ip.link_lookup(ifname=port)[0], master=bridge, state="up")

    def ping(self, source: str, target: str, *options: str) -> str:
        """The output of ping from one host to another."""
        address = f"10.0.0.{list(self.hosts).index(target) + 1}"
        with self.hosts[source].entered():
            command = ["ping", "-n", "-W", "5", *options, address]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def shortest_round_trip(self, source: str, target: str, payload: int = 56) -> float:
        """Milliseconds of the fastest of twenty pings: what the link takes, without what the host adds now and then."""
        self.ping(source, target, "-c", "1")  # who has 10.0.0.2?
        output = self.ping(source, target, "-c", "20", "-i", "0.05", "-s", str(payload))
        return float(output.rsplit("=", 1)[1].split("/")[0])

    def bulk_rate(self, source: str, target: str, size: int) -> float:
        """Mbit/s at which TCP payload of ``size`` bytes arrives, from the first byte to the last."""
        with self.hosts[target].entered():
            server = socket.create_server(("", 5001))
        with self.hosts[source].entered():
            client = socket.create_connection((f"10.0.0.{list(self.hosts).index(target) + 1}", 5001))
        sender = threading.Thread(target=lambda: (client.sendall(bytes(size)), client.close()))
        with server, server.accept()[0] as receiver:
            sender.start()
            received, begin = len(receiver.recv(65536)), time.monotonic()
            first = received
            while chunk := receiver.recv(65536):
                received += len(chunk)
            seconds = time.monotonic() - begin
        sender.join()
        assert received == size
        return (received - first) * 8 / seconds / 1e6

    def received(self, host: str) -> int:
        """Bytes that have come in at a host."""
        with self.hosts[host].entered(), IPRoute() as ip:
            (interface,) = ip.get_links(ifname="eth0")
            return int(interface.get_attr("IFLA_STATS64")["rx_bytes"])


def make_namespace(journal: Journal) -> Namespace:
    """A namespace that goes with the journal."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    journal.record("namespace", name)
    return Namespace.create(name)


class LinkConformance:
    """The suite. ``backend`` is what a subclass puts to the test."""

    backend: LinkBackend

    @pytest.fixture
    def laboratory(self) -> Iterator[Laboratory]:
        journal = Journal.begin()
        try:
            switch = make_namespace(journal)
            with switch.entered():
                links = self.backend.open(journal)
                with IPRoute() as ip:
                    ip.link("add", ifname="s1", kind="bridge")
                    ip.link("set", index=ip.link_lookup(ifname="s1")[0], state="up")
            yield Laboratory(journal, links, switch)
        finally:
            journal.undo()

    def test_two_hops_of_ten_milliseconds_make_a_round_trip_of_forty(self, laboratory: Laboratory) -> None:
        way = Direction(bandwidth=10e6, delay=0.010)
        laboratory.add_host("a", way, way)
        laboratory.add_host("b", way, way)
        serialisation = 4 * 98 * 8 / 10e6 * 1e3
        assert 40 + serialisation <= laboratory.shortest_round_trip("a", "b") <= 42 + serialisation

    def test_a_bulk_transfer_gets_the_bandwidth(self, laboratory: Laboratory) -> None:
        way = Direction(bandwidth=10e6, delay=0.010)
        laboratory.add_host("a", way, way)
        laboratory.add_host("b", way, way)
        assert 9 <= laboratory.bulk_rate("a", "b", 4_000_000) <= 10 * ETHERNET_TCP_PAYLOAD / FULL_FRAME + 0.1

    def test_a_frame_takes_its_size_divided_by_the_bandwidth(self, laboratory: Laboratory) -> None:
        laboratory.add_host("a", Direction(bandwidth=1e6), Direction())
        laboratory.add_host("b", Direction(), Direction())
        small, large = (laboratory.shortest_round_trip("a", "b", size) for size in (56, 1056))
        assert 7.5 <= large - small <= 9  # 1,000 bytes more at 1 Mbit/s in one direction: 8 ms

    def test_directions_differ(self, laboratory: Laboratory) -> None:
        laboratory.add_host("a", Direction(bandwidth=8e6, delay=0.005), Direction(bandwidth=4e6, delay=0.015))
        laboratory.add_host("b", Direction(), Direction())
        assert 20 <= laboratory.shortest_round_trip("a", "b") <= 22
        assert 3.6 <= laboratory.bulk_rate("b", "a", 2_000_000) <= 4
        assert 7.2 <= laboratory.bulk_rate("a", "b", 4_000_000) <= 8

    def test_without_limits_there_are_none(self, laboratory: Laboratory) -> None:
        laboratory.add_host("a", Direction(), Direction())
        laboratory.add_host("b", Direction(), Direction())
        assert laboratory.shortest_round_trip("a", "b") < 2
        assert laboratory.bulk_rate("a", "b", 20_000_000) > 20

    def test_the_counters_count_the_headers_of_every_frame(self, laboratory: Laboratory) -> None:
        way = Direction(bandwidth=10e6, delay=0.001)
        laboratory.add_host("a", way, way)
        laboratory.add_host("b", way, way)
        before = laboratory.received("b")
        laboratory.bulk_rate("a", "b", 1_000_000)
        on_the_wire = 1_000_000 * FULL_FRAME / ETHERNET_TCP_PAYLOAD
        assert on_the_wire <= laboratory.received("b") - before <= 1.02 * on_the_wire

    def test_nothing_is_lost_or_doubled(self, laboratory: Laboratory) -> None:
        way = Direction(bandwidth=10e6, delay=0.005)
        laboratory.add_host("a", way, way)
        laboratory.add_host("b", way, way)
        laboratory.ping("a", "b", "-c", "1")
        output = laboratory.ping("a", "b", "-c", "300", "-i", "0.005")
        assert "300 received, 0% packet loss" in output
        assert "duplicates" not in output
