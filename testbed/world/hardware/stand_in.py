"""The stand-in of a node that is real hardware: a namespace with the link's end, the lent interface, and a bridge.

A bridge, and not tc's mirred action: the frames by which the probe measures links end at a bridge, as they do in a
container, and mirred would send them on to the board.
"""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

from pyroute2 import IPRoute

from testbed.host.interfaces import Interface, lendable
from testbed.host.lending import LENT, Loan, lend
from testbed.host.namespace import Namespace
from testbed.world.hardware.addressing import hardware_address
from testbed.world.journal import Journal
from testbed.world.network import bridge_filter
from testbed.world.network.settings import NO_IPV6, apply

BRIDGE: Final = "cable"
"""The bridge between the link's end and the lent interface."""

_LINK_LOCAL_PREFIX: Final = 16  # RFC 3927


@dataclass(frozen=True)
class StandIn:
    """The namespace of a node that is hardware behind the interface ``interface``, at ``address`` of the network."""

    namespace: Namespace
    interface: Interface
    address: str

    @classmethod
    def make(cls, journal: Journal, node: str, nic: str, address: str) -> "StandIn":
        """Take the interface ``nic`` from the host; raises HostError if the host needs it."""
        loan = Loan(f"tb-{journal.run}-{node}", lendable(nic))
        journal.record("namespace", loan.borrower)
        namespace = Namespace.create(loan.borrower)
        journal.record("interface", loan.dump())
        lend(loan)
        made = cls(namespace, loan.interface, address)
        made._join()
        return made

    def take_control_address(self, board: str) -> None:
        """Give the host an address by which it reaches the address ``board`` on the cable.

        It is one that the interface had at home, or the first of the board's neighbours.
        """
        peer = IPv4Address(board)
        had = [IPv4Interface(str(one)) for one in self.interface.addresses if one.link_local and "." in one.address]
        own = next((one for one in had if peer in one.network), _beside(peer))
        with self.namespace.entered(), IPRoute() as ip:
            index = socket.if_nametoindex(BRIDGE)
            ip.addr("add", index=index, address=str(own.ip), prefixlen=own.network.prefixlen)

    def answering(self, address: str, seconds: float) -> str | None:
        """The MAC address that answers for ``address`` on the cable; None if none does within ``seconds``."""
        with self.namespace.entered():
            return hardware_address(LENT, address, seconds)

    def admit(self, mac: str) -> None:
        """Let frames pass between link and cable that are the node's own: of its address, and of the board ``mac``."""
        bridge_filter.admit(self.namespace, mac, self.address)

    def _join(self) -> None:
        bridge_filter.close(self.namespace)
        with self.namespace.entered(), IPRoute() as ip:
            apply(NO_IPV6)
            # A bridge takes over a port's address unless it has its own, and would change with every port.
            ip.link("add", ifname=BRIDGE, kind="bridge", br_mcast_snooping=0, br_forward_delay=0, state="up")
            nic, bridge = socket.if_nametoindex(LENT), socket.if_nametoindex(BRIDGE)
            ip.link("set", index=nic, master=bridge, state="up")
            ip.link("set", index=bridge, address=self.interface.mac)


def _beside(board: IPv4Address) -> IPv4Interface:
    """The first address of the board's /24 network that is not the board's, as one of the whole link-local network."""
    first = IPv4Address(int(board) & ~0xFF | 1)
    own = first if first != board else first + 1
    return IPv4Interface((own, _LINK_LOCAL_PREFIX if board.is_link_local else 24))
