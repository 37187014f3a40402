"""The network of a run: Mininet's hosts, switches and links, with containers for hosts.

    container a ─ eth0 ══ link ══ s1-eth1 ─ bridge s1 ─ s1-eth2 ══ link ══ eth0 ─ container b ─ eth1 ══ link ══ eth0 ─ c
    └ its own namespace                     └ the run's namespace           └ its own namespace

Mininet keeps the graph and runs commands in the nodes. A link backend makes the links. No process is started here: a
thread enters each namespace and configures it over netlink. A node's shell starts with its first command.

A node has one address for all of its interfaces, on its loopback interface, as routers do. Its routes lead to the other
addresses: on the link itself where switches join them (10.0.0.0/16 dev eth0 in a), or through the node at the link's
other end (10.0.0.0/16 via 10.0.0.2 dev eth0 onlink in c). A node with several links forwards. Both directions between
two nodes take the same path, so that no reverse-path filter drops packets. The interface over which an answer is routed
answers ARP (arp_filter), even if a node has two interfaces on one segment.
"""

import math
import socket
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

from mininet.link import Intf
from mininet.link import Link as MininetLink
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import Host, Node, Switch
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import rt_proto, rt_scope
from pyroute2.netlink.rtnl.rtmsg import RTNH_F_ONLINK

from testbed.host.namespace import Counters, Namespace
from testbed.schema.network.link import Link
from testbed.schema.network.topology import Topology
from testbed.world.network.links.backend import End
from testbed.world.network.links.running import RunningLinks
from testbed.world.network.patience import Patience
from testbed.world.network.routes import SUBNET, Route, addresses, interface_names, routing_tables

# The kernel follows rules in the order of their priorities (ip-rule(8)). The first of its own delivers packets to a
# node's addresses. The rules that make a node deaf must precede it.
_LOCAL: Final = {"table": 255, "protocol": rt_proto["kernel"]}
_DEAF_PRIORITY, _LOCAL_AFTER_DEAF = 1, 2

_PROTOCOLS: Final = (socket.IPPROTO_ICMP, socket.IPPROTO_TCP, socket.IPPROTO_UDP)
"""The protocols that a deaf node drops. A rule for all protocols would drop ARP, and so what the node forwards."""

# Documentation/networking/ip-sysctl.rst of Linux. `default` holds for interfaces that are made later.
_NO_IPV6: Final = {
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}
_WAITS_BY_ITSELF: Final = 60.0  # seconds for a connection
_WAITS_FOR_ARP: Final = 15.0  # of patience; a round trip is less than a quarter of it

_FORWARD: Final = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/arp_filter": "1",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
}


class NamespaceNode(Node):  # type: ignore[misc]
    """A Mininet node in an existing network namespace, with the host's programs and files."""

    namespace: Namespace

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802 (Mininet's name)
        """Do nothing: Mininet calls this for every new node, and a shell starts only with the first command."""

    def cmd(self, *args: Any, **kwargs: Any) -> str:
        """Run a command, and return its output."""
        self._need_shell()
        output: str = super().cmd(*args, **kwargs)
        return output

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:  # noqa: N802 (Mininet's name)
        """Start a command. Its output is read later."""
        self._need_shell()
        super().sendCmd(*args, **kwargs)

    def popen(self, *args: Any, **kwargs: Any) -> "Popen[bytes]":
        """Start a process in the namespace, without a shell."""
        process: Popen[bytes] = super().popen(*args, **{"mncmd": [], **kwargs})
        return process

    def _need_shell(self) -> None:
        if self.shell is None:
            super().startShell()

    def _popen(self, cmd: list[str], **params: Any) -> "Popen[bytes]":
        # Mininet's `mnexec -a` would enter the mount namespace as well, and the node image has no tools.
        process: Popen[bytes] = super()._popen(["nsenter", f"--net={self.namespace.path}", *cmd], **params)
        return process


class ContainerHost(NamespaceNode, Host):  # type: ignore[misc]
    """A Mininet host in the network namespace of a container."""

    def __init__(
        self,
        name: str,
        namespace: Namespace,
        address: str,
        routes: Sequence[Route],
        patience: float = 0.0,
        **params: Any,
    ) -> None:
        self.namespace = namespace
        self._address = address
        self._patience = patience
        self._routes = routes
        # Otherwise Mininet makes a namespace and moves interfaces into it. Here the container's namespace exists, and
        # the link backend creates the interfaces in it.
        super().__init__(name, inNamespace=False, **params)

    def config(self, **_: object) -> dict[str, str]:
        """Bring all interfaces up, with address and routes. Mininet calls this once the links exist."""
        with self.namespace.entered(), IPRoute() as ip:
            loopback, *interfaces = (socket.if_nametoindex(name) for name in ("lo", *self.intfNames()))
            for index in (loopback, *interfaces):
                ip.link("set", index=index, state="up")
            ip.addr("add", index=loopback, address=self._address, prefixlen=SUBNET.max_prefixlen)
            for route in self._routes:
                self._add(ip, route)
            _set(_solicitations(self.intfNames(), self._patience))
        for interface in self.intfList():
            interface.ip, interface.prefixLen = self._address, SUBNET.max_prefixlen  # returned by Mininet's IP()
        return {}

    def _add(self, ip: IPRoute, route: Route) -> None:
        hop = route.hop
        # The next node is at the link's other end or on the segment, so the kernel needs no route to it.
        way = {"gateway": hop.via, "flags": RTNH_F_ONLINK} if hop.via else {"scope": rt_scope["link"]}
        ip.route("add", dst=str(route.prefix), oif=socket.if_nametoindex(hop.interface), prefsrc=self._address, **way)


class Bridge(NamespaceNode, Switch):  # type: ignore[misc]
    """A Linux bridge in the run's namespace."""

    controlIntf = None  # noqa: N815 (Mininet's name)

    def __init__(self, name: str, namespace: Namespace, **params: Any) -> None:
        self.namespace = namespace
        # `inNamespace` keeps Mininet from making a control interface, for which it needs a shell. It moves nothing: the
        # backend creates interfaces where they belong. A bridge does not use the OpenFlow id `dpid`.
        super().__init__(name, dpid="1", **{**params, "inNamespace": True})
        self.inNamespace = False  # a shell needs no namespace of its own

    def start(self, _controllers: object) -> None:
        """Create the bridge with its ports, from a thread in its namespace.

        Multicast snooping is off, because with it a bridge sends reports of its own.
        """
        with IPRoute() as ip:
            ip.link("add", ifname=self.name, kind="bridge", br_mcast_snooping=0, state="up")
            index = socket.if_nametoindex(self.name)
            for port in self.intfNames():
                ip.link("set", index=socket.if_nametoindex(port), master=index, state="up")


class Interface(Intf):  # type: ignore[misc]
    """A Mininet interface. Its node configures all of its interfaces together."""

    def config(self, **_: object) -> dict[str, str]:
        """Do nothing: Mininet calls this for every new interface."""
        return {}


class EmulatedLink(MininetLink):  # type: ignore[misc]
    """A Mininet link whose interfaces come from a link backend."""

    def __init__(self, a: NamespaceNode, b: NamespaceNode, link: Link, links: RunningLinks, **params: Any) -> None:
        self._link = link
        self._links = links
        self._ends = (a, b)
        super().__init__(a, b, **params)

    def makeIntfPair(self, name1: str, name2: str, *_: object, **__: object) -> None:  # noqa: N802 (Mininet's name)
        """Create the link. Mininet calls this after it has named the interfaces and before it configures them."""
        a, b = (End(name, node.namespace) for name, node in zip((name1, name2), self._ends, strict=True))
        self._links.connect(self._link, a, b)


@dataclass(frozen=True)
class Traffic:
    """Bytes that a link has carried: ``up`` from its first end to its second, ``down`` from the second to the first."""

    up: int
    down: int


@dataclass(frozen=True)
class Meter:
    """The interface at which a link's bytes are counted, and whether it is the one at the link's second end."""

    link: Link
    interface: str
    at_b: bool

    def read(self, counters: Mapping[str, Counters]) -> Traffic:
        """The traffic so far, from the counters of the meter's namespace. 0 if the interface is gone with its relay."""
        here = counters.get(self.interface, Counters(0, 0, 0))
        return Traffic(up=here.received, down=here.sent) if self.at_b else Traffic(up=here.sent, down=here.received)


class Network:
    """The network of one run."""

    def __init__(
        self,
        topology: Topology,
        home: Namespace,
        containers: Mapping[str, Namespace],
        links: RunningLinks,
        patience: Patience | None = None,
    ) -> None:
        """``home`` is the run's namespace. ``containers`` are the namespaces of the containers, by node.

        The kernels of nodes wait for answers as long as ``patience`` says, and never less than they do by themselves.
        """
        setLogLevel("error")  # Mininet warns of intended cases, such as a node without a link
        Mininet.inited = True  # otherwise the first instance raises limits and sysctls of the whole host
        self.mininet = Mininet(controller=None, switch=Bridge, intf=Interface, ipBase=str(SUBNET), build=False)
        """The network as an object of Mininet's. A command in one of its nodes starts a shell there."""
        self._topology = topology
        self._links = links
        self._patience = {node: max(seconds.values(), default=0.0) for node, seconds in (patience or {}).items()}
        self._namespaces = {**containers, **dict.fromkeys(topology.switches, home)}
        try:
            with home.entered():
                self._build()
        except BaseException:
            self.stop()
            raise
        self._meters = self._place_meters()

    def _build(self) -> None:
        _set(_NO_IPV6)
        self._add_hosts()
        for name in self._topology.switches:
            self.mininet.addSwitch(name, namespace=self._namespaces[name])
        interfaces = interface_names(self._topology)
        for link in self._topology.resolved_links:
            a, b = interfaces[link.name]
            # Without an address from Mininet the kernel draws a MAC address.
            self.mininet.addLink(
                link.a,
                link.b,
                cls=EmulatedLink,
                link=link,
                links=self._links,
                intfName1=a,
                intfName2=b,
                addr1=None,
                addr2=None,
            )
        self.mininet.build()
        self.mininet.start()

    def _add_hosts(self) -> None:
        address, tables = addresses(self._topology), routing_tables(self._topology)
        for name in self._topology.nodes:
            self._prepare(name)
            namespace = self._namespaces[name]
            self.mininet.addHost(
                name,
                cls=ContainerHost,
                namespace=namespace,
                address=address[name],
                routes=tables[name],
                patience=self._patience.get(name, 0.0),
            )

    def _prepare(self, node: str) -> None:
        """Write the kernel's network settings in a node's namespace."""
        ends = Counter(end for link in self._topology.resolved_links for end in (link.a, link.b))
        with self._namespaces[node].entered():
            _set(_NO_IPV6)
            if ends[node] > 1:
                _set(_FORWARD)
            _set(_retries(self._patience.get(node, 0.0)))

    def _place_meters(self) -> dict[Namespace, list[Meter]]:
        """The meters by namespace. A link with a switch is counted there, since one namespace holds all switches."""
        meters = defaultdict(list)
        for link, made in zip(self._topology.resolved_links, self.mininet.links, strict=True):
            at_b = link.b in self._topology.switches or link.a not in self._topology.switches
            end, interface = (link.b, made.intf2) if at_b else (link.a, made.intf1)
            meters[self._namespaces[end]].append(Meter(link, interface.name, at_b))
        return meters

    def deafen(self, node: str, before: frozenset[str], after: frozenset[str]) -> None:
        """Make a node deaf to the nodes ``after``, and no longer to the nodes ``before``.

        A deaf node drops their packets on arrival, without an error to the sender. Packets that it forwards pass.
        """
        address = addresses(self._topology)
        with self._namespaces[node].entered(), IPRoute() as ip:
            if not before:
                _move_local_rule(ip, 0, _LOCAL_AFTER_DEAF)
            for change, others in (("add", after - before), ("del", before - after)):
                for other, protocol in product(others, _PROTOCOLS):
                    ip.rule(
                        change,
                        priority=_DEAF_PRIORITY,
                        action="blackhole",
                        src=address[other],
                        src_len=32,
                        dst=address[node],
                        dst_len=32,
                        ip_proto=protocol,
                    )
            if not after:
                _move_local_rule(ip, _LOCAL_AFTER_DEAF, 0)

    def move(self, node: str, pid: int) -> None:
        """Move a node, with its links, address and routes, into the namespace of process ``pid``."""
        host, namespace = self.mininet[node], self._namespaces[node]
        with Namespace.of_process(pid).path.open() as there, namespace.entered(), IPRoute() as ip:
            for name in host.intfNames():
                ip.link("set", index=socket.if_nametoindex(name), net_ns_fd=there.fileno())
        namespace.replace(pid)
        self._prepare(node)
        self._links.moved(namespace)
        host.config()

    def traffic(self) -> dict[str, Traffic]:
        """By link, the bytes carried so far, as counted at one of its ends."""
        carried = {}
        for namespace, meters in self._meters.items():
            counters = namespace.counters()
            carried.update({meter.link.name: meter.read(counters) for meter in meters})
        return {link.name: carried[link.name] for link in self._topology.resolved_links}

    def stop(self) -> None:
        """End Mininet's shells. The links stay; the kernel deletes interfaces and bridges with their namespaces."""
        for node in self.mininet.hosts + self.mininet.switches:
            node.terminate()


def _set(settings: Mapping[str, str]) -> None:
    """Write sysctls in the namespace of this thread. Those that the kernel does not have are skipped."""
    for name, value in settings.items():
        setting = Path("/proc/sys/net", name)
        if setting.exists():
            setting.write_text(value)


def _retries(seconds: float) -> dict[str, str]:
    """The settings by which a kernel waits that long for a connection; none where its own suffice.

    The waits for an answer double from 1 s up to 120 s, with 5 or 6 repetitions to 63 s or more (tcp(7)).
    """
    if seconds < _WAITS_BY_ITSELF:
        return {}
    repetitions = str(min(127, 6 + math.ceil(seconds / 120)))
    return dict.fromkeys(("ipv4/tcp_syn_retries", "ipv4/tcp_synack_retries"), repetitions)


def _solicitations(interfaces: Iterable[str], seconds: float) -> dict[str, str]:
    """The settings by which a kernel waits that long for an address by ARP; none where its own 3 s suffice (arp(7))."""
    if seconds < _WAITS_FOR_ARP:
        return {}
    names = (f"ipv4/neigh/{name}/{kind}_solicit" for name in interfaces for kind in ("mcast", "ucast"))
    return dict.fromkeys(names, str(math.ceil(seconds)))  # one a second


def _move_local_rule(ip: IPRoute, before: int, after: int) -> None:
    """Change the priority of the rule for the node's own addresses. At every moment there is at least one such rule."""
    ip.rule("add", priority=after, **_LOCAL)
    ip.rule("del", priority=before, **_LOCAL)
