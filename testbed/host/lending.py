"""Lending an interface of this host to a run, and taking it back as it was.

The kernel gives a physical interface back when the namespace that has it goes: without addresses, routes and link
state, under another name if its own is taken, and not before the last process in the namespace has ended. So the state
is written down beforehand, and the interface is fetched back from wherever it is. It is recognised by its alias
(ip-link(8)), which no move changes.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from errno import EADDRNOTAVAIL, EEXIST
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter
from pyroute2 import IPRoute, NetlinkError, netns

from testbed.core.errors import HostError
from testbed.host.interfaces import Interface
from testbed.host.namespace import Namespace

LENT: Final = "nic"
"""What a lent interface is called where it is lent to: its own name may be that of a link's end there."""


@dataclass(frozen=True)
class Loan:
    """An interface on its way to the namespace that ``ip netns`` lists as ``borrower``, and how it was at home."""

    borrower: str
    interface: Interface

    @property
    def mark(self) -> str:
        """The alias of the interface while it is lent."""
        return f"lent to {self.borrower}"

    def dump(self) -> str:
        """As text, for :meth:`load`."""
        return _LOANS.dump_json(self).decode()

    @staticmethod
    def load(text: str) -> "Loan":
        """The loan that :meth:`dump` wrote."""
        return _LOANS.validate_json(text)


_LOANS: Final = TypeAdapter(Loan)


def lend(loan: Loan) -> None:
    """Move the interface into its borrower's namespace, under the name :data:`LENT`; raises OSError or NetlinkError."""
    with IPRoute() as ip, (Path("/run/netns") / loan.borrower).open() as there:
        index = socket.if_nametoindex(loan.interface.name)
        ip.link("set", index=index, IFLA_IFALIAS=loan.mark)
        ip.link("set", index=index, state="down")
        ip.link("set", index=index, net_ns_fd=there.fileno(), ifname=LENT)


def take_back(loan: Loan) -> None:
    """Bring the interface home as it was; nothing if it was never lent, or has been unplugged.

    Raises HostError if its name has been taken meanwhile.
    """
    with Path("/proc/thread-self/ns/net").open() as home:
        for space in _where_it_may_be(loan.borrower):
            with suppress(FileNotFoundError), space.entered(), IPRoute() as ip:
                for index in _marked(ip, loan.mark):
                    _fetch(ip, index, home.fileno(), loan.interface.name)
                    break
                else:
                    continue
            _restore(loan)
            return


def _where_it_may_be(borrower: str) -> Iterator[Namespace]:
    """The borrower's namespace, the one of this thread, and those of all processes: a name may go before its
    namespace does."""
    if borrower in netns.listnetns():
        yield Namespace(Path("/run/netns") / borrower)
    yield Namespace(Path("/proc/thread-self/ns/net"))
    seen = set[int]()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        with suppress(OSError):
            if (inode := path.stat().st_ino) not in seen:
                seen.add(inode)
                yield Namespace(path)


def _marked(ip: IPRoute, mark: str) -> list[int]:
    return [link["index"] for link in ip.get_links() if link.get_attr("IFLA_IFALIAS") == mark]


def _fetch(ip: IPRoute, index: int, home: int, name: str) -> None:
    ip.link("set", index=index, state="down")  # only then can it be renamed
    try:
        ip.link("set", index=index, net_ns_fd=home, ifname=name)
    except NetlinkError as error:
        if error.code != EEXIST:
            raise
        raise HostError(f"another interface is called {name!r} now; rename that one first") from None


def _restore(loan: Loan) -> None:
    """Give an interface that is at home again its link state, addresses and routes."""
    was = loan.interface
    with IPRoute() as ip:
        index = socket.if_nametoindex(was.name)
        ip.link("set", index=index, mtu=was.mtu, state="up" if was.up else "down")
        for address in was.addresses:
            _unless_there(ip, "addr", index=index, address=address.address, prefixlen=address.prefix)
        for route in was.routes:
            _unless_there(ip, "route", oif=index, **route)
        ip.link("set", index=index, IFLA_IFALIAS=was.alias)  # last: until then, taking it back can be repeated


def _unless_there(ip: IPRoute, what: str, **properties: object) -> None:
    """Add an address or a route. The kernel makes some by itself, and none of IPv6 where that is switched off."""
    try:
        getattr(ip, what)("add", **properties)
    except NetlinkError as error:
        if error.code not in (EEXIST, EADDRNOTAVAIL):
            raise OSError(error.code, os.strerror(error.code)) from error
