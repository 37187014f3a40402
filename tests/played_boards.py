"""Boards that are played: a network namespace for the board, and a veth pair for the cable and its interfaces."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from testbed.host.interfaces import Interface, interfaces

CONTROL = "169.254.8.2"  # not of the board in examples, which another test plays
HOST = "169.254.8.1"


def ip(*arguments: str) -> str:
    """Run ip(8), and return what it prints."""
    return subprocess.run(["ip", *" ".join(arguments).split()], check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class PlayedBoard:
    """A board whose namespace ``ip netns`` lists as ``space``, behind the interface ``nic`` of this host."""

    space: str
    nic: str

    def do(self, command: str) -> str:
        """Run a command on the board, and return what it prints."""
        words = ["ip", "netns", "exec", self.space, *command.split()]
        return subprocess.run(words, check=False, capture_output=True, text=True).stdout

    def settled(self) -> Interface:
        """The interface as it is, once the kernel has given it the IPv6 address that it gives to one that comes up."""
        while not any(address.address.startswith("fe80:") for address in interfaces()[self.nic].addresses):
            pass
        return interfaces()[self.nic]


@contextmanager
def played_board(address: str = "") -> Iterator[PlayedBoard]:
    """A board with the control address ``CONTROL``, and with the address ``address`` of the emulated network."""
    unique = uuid.uuid4().hex[:6]
    board = PlayedBoard(f"board-{unique}", f"tbnic{unique}")
    ip("netns add", board.space)
    try:
        ip("link add", board.nic, "type veth peer name eth0 netns", board.space)
        ip("link set", board.nic, "up alias a-cable mtu 1400")
        ip("address add", f"{HOST}/24 dev", board.nic)
        ip("route add 198.51.100.0/24 via", CONTROL, "dev", board.nic)
        for line in ("link set lo up", "link set eth0 up", f"address add {CONTROL}/24 dev eth0"):
            ip("-n", board.space, line)
        if address:
            ip("-n", board.space, f"address add {address}/16 dev eth0")
        yield board
    finally:
        ip("-n", board.space, "link delete eth0")  # and with it the other end, wherever that is
        ip("netns delete", board.space)
