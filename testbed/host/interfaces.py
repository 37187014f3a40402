"""The interfaces of this host: what they carry, and whether one can be lent to a run.

An interface that a run takes disappears from the host. So one that the host itself needs is refused: it would cut off
whoever started the run.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any, Final

import psutil
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import rt_proto
from pyroute2.netlink.rtnl.rtmsg import RTNH_F_ONLINK

from testbed.core.errors import HostError

_SSH: Final = 22
_IFF_UP: Final = 1
_PERMANENT: Final = 0x80  # linux/if_addr.h: not one that a router or DHCP gave
_DEFAULT_TABLES: Final = (254,)  # main

_KEPT_OF_A_ROUTE: Final = {
    "RTA_DST": "dst",
    "RTA_GATEWAY": "gateway",
    "RTA_PREFSRC": "prefsrc",
    "RTA_PRIORITY": "priority",
    "RTA_TABLE": "table",
}
"""Attributes of a route (rtnetlink(7)), and what pyroute2 calls them when a route is added."""


@dataclass(frozen=True)
class Address:
    """An IP address of an interface, with the length of its network's prefix."""

    address: str
    prefix: int

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"

    @property
    def link_local(self) -> bool:
        """Whether it reaches no farther than the cable (RFC 3927, RFC 4291)."""
        return ip_address(self.address).is_link_local


@dataclass(frozen=True)
class Interface:
    """An interface as it was found. ``routes`` are arguments of pyroute2's, without those that the kernel makes."""

    name: str
    mac: str
    mtu: int
    up: bool
    alias: str
    addresses: tuple[Address, ...]
    routes: tuple[dict[str, Any], ...]

    @property
    def carries_default_route(self) -> bool:
        """Whether packets to the rest of the world leave by it."""
        return any("dst" not in route and route.get("table") in _DEFAULT_TABLES for route in self.routes)


def interfaces() -> dict[str, Interface]:
    """The interfaces in the namespace of this thread, by name, without the loopback interface."""
    with IPRoute() as ip:
        found = [_interface(ip, link) for link in ip.get_links() if link.get_attr("IFLA_IFNAME") != "lo"]
    return {interface.name: interface for interface in found}


def lendable(name: str) -> Interface:
    """The interface called ``name``; raises HostError if there is none, or if the host needs it."""
    known = interfaces()
    if name not in known:
        raise HostError(f"this host has no interface {name!r}; known are {', '.join(known) or 'none'}")
    if reason := why_not_lendable(known[name]):
        raise HostError(reason)
    return known[name]


def why_not_lendable(interface: Interface) -> str | None:
    """Why a run may not take an interface, and how to free it; None if it may."""
    return next(_objections(interface), None)


def _objections(interface: Interface) -> Iterator[str]:
    name, device = interface.name, Path("/sys/class/net", interface.name)
    take_another = "a run would cut this host off; plug the board into another interface"
    if interface.carries_default_route:
        yield f"interface {name!r} carries the default route: {take_another}"
    if peer := _ssh_session(interface):
        yield f"interface {name!r} carries an ssh session with {peer}: end the session, or use another interface"
    if (device / "wireless").exists() or (device / "phy80211").exists():
        yield f"interface {name!r} is wireless, and no bridge can take it; use a cable"
    if (device / "master").exists():
        master = (device / "master").resolve().name
        yield f"interface {name!r} is a port of {master!r}; to free it: sudo ip link set {name} nomaster"
    if uppers := sorted(path.name.removeprefix("upper_") for path in device.glob("upper_*")):
        yield f"interface {name!r} carries {uppers[0]!r}; to free it: sudo ip link delete {uppers[0]}"
    if others := [address for address in interface.addresses if not address.link_local]:
        yield (
            f"interface {name!r} has the address {others[0]}; if the host does not need it, free the interface: "
            f"sudo ip address flush dev {name} scope global"
        )


def _ssh_session(interface: Interface) -> str | None:
    """The other side of an ssh session over the interface, in either direction; None without one."""
    own = {address.address for address in interface.addresses}
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_ESTABLISHED or not connection.laddr or not connection.raddr:
            continue
        here, there = connection.laddr, connection.raddr
        if here.ip in own and _SSH in (here.port, there.port):
            return str(there.ip)
    return None


def _interface(ip: IPRoute, link: Any) -> Interface:
    index = link["index"]
    return Interface(
        name=link.get_attr("IFLA_IFNAME"),
        mac=link.get_attr("IFLA_ADDRESS") or "",
        mtu=link.get_attr("IFLA_MTU"),
        up=bool(link["flags"] & _IFF_UP),
        alias=link.get_attr("IFLA_IFALIAS") or "",
        addresses=tuple(_addresses(ip, index)),
        routes=tuple(_routes(ip, index)),
    )


def _addresses(ip: IPRoute, index: int) -> Iterator[Address]:
    for found in ip.get_addr(index=index):
        if found["flags"] & _PERMANENT:
            text = found.get_attr("IFA_LOCAL") or found.get_attr("IFA_ADDRESS")
            yield Address(text, found["prefixlen"])


def _routes(ip: IPRoute, index: int) -> Iterator[dict[str, Any]]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for route in ip.get_routes(family=family, oif=index):
            if route["proto"] == rt_proto["kernel"]:
                continue
            kept = {name: value for of, name in _KEPT_OF_A_ROUTE.items() if (value := route.get_attr(of)) is not None}
            if "dst" in kept:
                kept["dst"] = str(ip_interface(f"{kept['dst']}/{route['dst_len']}"))
            flags = route["flags"] & RTNH_F_ONLINK
            yield {**kept, "family": int(family), "scope": route["scope"], "proto": route["proto"], "flags": flags}
