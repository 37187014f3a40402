"""An interface of this host as a node: the device behind it, the frames that pass, and the interface afterwards."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from played_boards import CONTROL, HOST, PlayedBoard, ip, played_board

from testbed.core.clock import REAL_TIME
from testbed.core.errors import HostError
from testbed.host.interfaces import interfaces, lendable
from testbed.host.machine import connect_docker
from testbed.host.namespace import Namespace
from testbed.schema.network.direction import Direction
from testbed.schema.network.link import Link
from testbed.schema.scenario import Sampling
from testbed.world.hardware import device
from testbed.world.hardware.kinds import Interface
from testbed.world.hardware.stand_in import StandIn
from testbed.world.journal import Journal, UndoError, undo_dead_runs
from testbed.world.network import bridge_filter
from testbed.world.network.links.backend import End, backends
from testbed.world.network.links.running import RunningLinks
from testbed.world.nodes.handle import PlannedNode, Site, WorldError

ADDRESS = "10.0.0.3"  # of the third node


@pytest.fixture
def board() -> Iterator[PlayedBoard]:
    with played_board(ADDRESS) as board:
        yield board


@pytest.fixture
def journal() -> Iterator[Journal]:
    with closing(Journal.begin()) as journal:
        yield journal
        journal.undo()


def test_a_device_without_the_address_is_told_which(
    board: PlayedBoard, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_ANSWERS", 0.3)
    spec = Interface(kind="interface", interface=board.nic)
    planned = PlannedNode("pi", "10.0.0.9", spec, None, None, {})
    hosts = tmp_path / "hosts"
    site = Site(journal, tmp_path, REAL_TIME, connect_docker(), "", {"pi": "10.0.0.9"}, hosts, Sampling(), 1)
    with pytest.raises(WorldError, match=r"on the device: ip address add 10\.0\.0\.9/16 dev INTERFACE"):
        device.start_devices(site, {"pi": planned})


def test_only_its_own_frames_pass(board: PlayedBoard, journal: Journal, tmp_path: Path) -> None:
    stand_in = StandIn.make(journal, "pi", board.nic, ADDRESS)
    stand_in.take_control_address(CONTROL)
    journal.record("namespace", name := f"tb-{journal.run}")
    far = Namespace.create(name)
    with far.entered():
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    backend = next(backend for backend in backends() if backend.missing() is None)
    links = RunningLinks.begin(backend, journal, tmp_path, seed=1)
    plain = Direction()
    links.connect(Link("pi", "a", plain, plain), End("eth0", stand_in.namespace), End("eth0", far))
    ip("-n", name, "link set eth0 up")
    ip("-n", name, "address add 10.0.0.1/16 dev eth0")
    ip("-n", stand_in.namespace.path.name, "link set eth0 up master cable")
    mac = stand_in.answering(ADDRESS, 5)
    assert mac is not None and mac in board.do("ip link show eth0")
    assert stand_in.answering("10.0.0.77", 0.3) is None

    def reaches(target: str) -> bool:
        return " 0% packet loss" in board.do(f"ping -n -c 2 -i 0.05 -W 1 {target}")

    assert not reaches("10.0.0.1")  # nothing passes until the device is known
    stand_in.admit(mac)
    assert reaches("10.0.0.1")

    quiet = far.counters()["eth0"].received
    ip("-n", board.space, "neigh flush all")
    assert reaches(HOST)  # control, with its ARP
    board.do("ping -n -c 1 -W 1 169.254.8.77")  # a broadcast for nobody
    board.do(f"ping -n -c 1 -W 1 -I {CONTROL} 10.0.0.1")  # an address that is not the node's
    assert far.counters()["eth0"].received == quiet

    bridge_filter.deafen(stand_in.namespace, {"10.0.0.1"})
    assert not reaches("10.0.0.1")
    bridge_filter.deafen(stand_in.namespace, set())
    assert reaches("10.0.0.1")


def test_the_interface_comes_back_as_it_was(board: PlayedBoard) -> None:
    before = board.settled()
    with closing(Journal.begin()) as journal:
        StandIn.make(journal, "pi", board.nic, ADDRESS)
        assert board.nic not in interfaces()
        journal.undo()
    assert board.settled() == before
    assert before.alias == "a-cable" and before.mtu == 1400
    assert [route["dst"] for route in before.routes] == ["198.51.100.0/24"]


def test_it_comes_back_from_a_namespace_in_which_a_process_is_left(board: PlayedBoard) -> None:
    before = board.settled()
    with closing(Journal.begin()) as journal:
        space = StandIn.make(journal, "pi", board.nic, ADDRESS).namespace.path.name
        left = subprocess.Popen(["ip", "netns", "exec", space, "sleep", "infinity"])
        while Path(f"/proc/{left.pid}/comm").read_text().strip() != "sleep":
            time.sleep(0.01)
        ip("netns delete", space)  # the namespace has no name any more, and goes on
        journal.undo()
    assert board.settled() == before
    left.kill()
    left.wait()


def test_it_comes_back_after_the_death_of_the_runner(board: PlayedBoard) -> None:
    before = board.settled()
    child = os.fork()
    if child == 0:
        StandIn.make(Journal.begin(), "pi", board.nic, ADDRESS)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert board.nic not in interfaces()
    assert [line for line in undo_dead_runs([]) if line.endswith(": removed")]
    assert board.settled() == before


def test_it_waits_for_its_name_to_be_free(board: PlayedBoard) -> None:
    with closing(Journal.begin()) as journal:
        StandIn.make(journal, "pi", board.nic, ADDRESS)
        ip("link add", board.nic, "type bridge")
        with pytest.raises(UndoError, match=f"interface {board.nic} could not be removed .another interface is called"):
            journal.undo()
        ip("link delete", board.nic)
        journal.undo()
    assert board.nic in interfaces()


def test_an_interface_that_the_host_needs_is_refused(board: PlayedBoard) -> None:
    with pytest.raises(HostError, match="this host has no interface 'enx0'; known are .*" + board.nic):
        lendable("enx0")
    with pytest.raises(HostError, match="carries the default route"):
        lendable(_default_interface())
    ip("address add 192.0.2.77/32 dev", board.nic)
    with pytest.raises(HostError, match=f"has the address 192.0.2.77/32; .* address flush dev {board.nic} scope"):
        lendable(board.nic)
    ip("address flush dev", board.nic, "scope global")
    assert lendable(board.nic).name == board.nic


def test_an_interface_that_carries_a_session_is_refused(board: PlayedBoard) -> None:
    with socket.create_server((HOST, 22)):
        command = ["ip", "netns", "exec", board.space, "sleep", "infinity"]
        session = ["bash", "-c", f"exec 3<>/dev/tcp/{HOST}/22; {' '.join(command[4:])}"]
        with subprocess.Popen([*command[:4], *session]) as other:
            while "ESTAB" not in board.do("ss -tn"):
                time.sleep(0.01)
            with pytest.raises(HostError, match=f"carries an ssh session with {CONTROL}: end the session"):
                lendable(board.nic)
            other.kill()


def test_an_interface_that_others_stand_on_is_refused(board: PlayedBoard) -> None:
    ip("link add", f"{board.nic}b", "type bridge")
    try:
        ip("link set", board.nic, "master", f"{board.nic}b")
        with pytest.raises(HostError, match=f"is a port of '{board.nic}b'; .* sudo ip link set {board.nic} nomaster"):
            lendable(board.nic)
    finally:
        ip("link delete", f"{board.nic}b")


def _default_interface() -> str:
    return ip("route show default").split(" dev ")[1].split()[0]
