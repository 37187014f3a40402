"""What a network between nodes with several links must do, whatever backend makes the links. Measured from outside.

 a ─10─ b ─5─ s1 ─1─ f      The numbers are delays in ms. From a to d the shortest path leads over f, which has two
 │       \\     │     │      interfaces on one segment: 32 ms. The links a-d, b-e and s1-s2 are not on it.
200     1 e   100    1
 │             │     │
 d ─10─ c ─5─ s2 ────┘
Two slower links lie beside that from a to b, and one beside that from c to s2.
"""

import itertools
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
from conformance import EARLY, undisturbed

from testbed.host.namespace import Namespace
from testbed.schema.network.topology import Topology
from testbed.world.journal import Journal
from testbed.world.network.links.backend import LinkBackend
from testbed.world.network.links.running import RunningLinks
from testbed.world.network.network import Network, Traffic
from testbed.world.network.routes import addresses

TOPOLOGY = Topology.model_validate(
    {
        "name": "two ways",
        "defaults": {"link": {"bandwidth": "100mbit"}},
        "nodes": {name: {"model": "zoo/alpha", "cpus": 0.1, "memory": "64MiB"} for name in "abcdef"},
        "switches": ["s1", "s2"],
        "links": [
            {"endpoints": ends.split(), "delay": delay}
            for ends, delay in (
                ("a b", "30ms"),
                ("a b", "10ms"),
                ("b a", "20ms"),
                ("b s1", "5ms"),
                ("f s1", "1ms"),
                ("s1 s2", "100ms"),
                ("s2 f", "1ms"),
                ("c s2", "5ms"),
                ("c s2", "8ms"),
                ("d c", "10ms"),
                ("a d", "200ms"),
                ("b e", "1ms"),
            )
        ],
    }
)
ADDRESS = addresses(TOPOLOGY)
FORTH = {"a-b#2": "up", "b-s1": "up", "f-s1": "down", "s2-f": "down", "c-s2": "down", "d-c": "down"}
"""The direction in which each link on the way from a to d is crossed."""


class ForwardingConformance:
    """The suite. ``backend`` is what a subclass puts to the test."""

    backend: LinkBackend

    @pytest.fixture
    def network(self, tmp_path: Path) -> Iterator[Network]:
        journal = Journal.begin()
        try:
            home = _make_namespace(journal)
            nodes = {name: _make_namespace(journal) for name in TOPOLOGY.nodes}
            with home.entered():
                links = RunningLinks.begin(self.backend, journal, tmp_path, seed=7)
            network = Network(TOPOLOGY, home, nodes, links)
            yield network
            network.stop()
        finally:
            journal.undo()
            journal.close()

    def test_no_shell_is_started_before_somebody_asks_for_one(self, network: Network) -> None:
        nodes = [*network.mininet.hosts, *network.mininet.switches]
        assert [node.shell for node in nodes] == [None] * len(nodes)
        assert network.mininet["a"].cmd("echo ready").strip() == "ready"
        assert "s1-eth1" in network.mininet["s1"].cmd("ip link")

    def test_every_node_reaches_every_other(self, network: Network) -> None:
        for source, target in itertools.permutations(TOPOLOGY.nodes, 2):
            assert _ping(network, source, target, "-c", "1") is not None, f"{source} does not reach {target}"

    def test_a_round_trip_takes_the_delays_of_all_links_on_the_way(self, network: Network) -> None:
        _ping(network, "a", "d", "-c", "1")

        def check() -> None:
            milliseconds = _ping(network, "a", "d", "-c", "10", "-i", "0.1")
            assert milliseconds is not None
            assert 64 - 6 * EARLY <= milliseconds <= 67  # over six links; any other way takes 6 ms more

        undisturbed(check)

    def test_a_node_in_another_namespace_is_as_it_was(self, network: Network) -> None:
        """As when its container is started again: f has two interfaces on the way from a to d."""
        with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; read end"], stdin=PIPE, stdout=PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            network.move("f", process.pid)
            assert _ping(network, "a", "f", "-c", "1") is not None
            self.test_a_round_trip_takes_the_delays_of_all_links_on_the_way(network)
            process.communicate(b"\n")

    def test_a_node_is_deaf_to_others_and_forwards_for_them(self, network: Network) -> None:
        network.deafen("f", frozenset(), frozenset("ad"))
        assert _ping(network, "a", "f", "-c", "1", "-W", "1") is None
        assert _ping(network, "b", "f", "-c", "1") is not None
        assert _ping(network, "a", "d", "-c", "1") is not None
        network.deafen("f", frozenset("ad"), frozenset())
        assert _ping(network, "a", "f", "-c", "1") is not None

    def test_a_packet_is_counted_on_every_link_of_its_way_in_its_direction_and_on_no_other(
        self, network: Network
    ) -> None:
        _ping(network, "a", "d", "-c", "2")  # who has 10.0.0.6?
        before = network.traffic()
        _send(network, "a", "d", count=50, size=1000)
        after = network.traffic()
        carried = {
            name: Traffic(after[name].up - before[name].up, after[name].down - before[name].down) for name in after
        }
        frames = 50 * (1000 + 8 + 20 + 14)
        address_resolution = 400  # bytes: entries may be confirmed meanwhile
        for name, traffic in carried.items():
            forth, back = (traffic.up, traffic.down) if FORTH.get(name) == "up" else (traffic.down, traffic.up)
            expected = frames if name in FORTH else 0
            assert expected <= forth <= expected + address_resolution, name
            assert back <= address_resolution, name

    def test_nobody_is_told_of_a_better_way(self, network: Network) -> None:
        before = _redirects(network)
        _ping(network, "a", "d", "-c", "3", "-i", "0.1")
        assert _redirects(network) == before == 0


def _make_namespace(journal: Journal) -> Namespace:
    """One that goes with the journal."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    journal.record("namespace", name)
    return Namespace.create(name)


def _ping(network: Network, source: str, target: str, *options: str) -> float | None:
    """Milliseconds of the shortest round trip; None if nothing came back."""
    process = network.mininet[source].popen(["ping", "-n", "-W", "5", *options, ADDRESS[target]], text=True)
    output, _ = process.communicate()
    return float(output.rsplit("=", 1)[1].split("/")[0]) if process.returncode == 0 else None


def _send(network: Network, source: str, target: str, count: int, size: int) -> None:
    """So many datagrams of ``size`` bytes, all of which arrive."""
    with network.mininet[target].namespace.entered():
        receiver = socket.socket(type=socket.SOCK_DGRAM)
    with network.mininet[source].namespace.entered():
        sender = socket.socket(type=socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.settimeout(5)
        receiver.bind(("", 5001))
        for _ in range(count):
            sender.sendto(bytes(size), (ADDRESS[target], 5001))
            assert len(receiver.recv(2 * size)) == size


def _redirects(network: Network) -> int:
    """ICMP redirects that the nodes have sent."""
    total = 0
    for host in network.mininet.hosts:
        output, _ = host.popen(["cat", "/proc/net/snmp"], text=True).communicate()
        names, values = (line.split() for line in output.splitlines() if line.startswith("Icmp:"))
        total += int(dict(zip(names, values, strict=True))["OutRedirects"])
    return total
