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

import socket
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

from mininet.log import setLogLevel
from mininet.net import Mininet
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import rt_proto

from testbed.host.namespace import Counters, Namespace
from testbed.schema.network.link import Link
from testbed.schema.network.topology import Topology
from testbed.world.network import bridge_filter
from testbed.world.network.links.running import RunningLinks
from testbed.world.network.parts import Bridge, BridgedHost, ContainerHost, EmulatedLink, Interface
from testbed.world.network.patience import Patience
from testbed.world.network.routes import SUBNET, addresses, interface_names, routing_tables
from testbed.world.network.settings import FORWARD, NO_IPV6, apply, retries

# The kernel follows rules in the order of their priorities (ip-rule(8)). The first of its own delivers packets to a
# node's addresses. The rules that make a node deaf must precede it.
_LOCAL: Final = {"table": 255, "protocol": rt_proto["kernel"]}
_DEAF_PRIORITY, _LOCAL_AFTER_DEAF = 1, 2

_PROTOCOLS: Final = (socket.IPPROTO_ICMP, socket.IPPROTO_TCP, socket.IPPROTO_UDP)
"""The protocols that a deaf node drops. A rule for all protocols would drop ARP, and so what the node forwards."""


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
        bridges: Mapping[str, str] | None = None,
    ) -> None:
        """``home`` is the run's namespace. ``containers`` are the namespaces of the nodes, and ``bridges`` the bridges
        in them beyond which nodes are that are no part of this host.

        The kernels of nodes wait for answers as long as ``patience`` says, and never less than they do by themselves.
        """
        setLogLevel("error")  # Mininet warns of intended cases, such as a node without a link
        Mininet.inited = True  # otherwise the first instance raises limits and sysctls of the whole host
        self.mininet = Mininet(controller=None, switch=Bridge, intf=Interface, ipBase=str(SUBNET), build=False)
        """The network as an object of Mininet's. A command in one of its nodes starts a shell there."""
        self._topology = topology
        self._links = links
        self._bridges = bridges or {}
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
        apply(NO_IPV6)
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
            namespace = self._namespaces[name]
            if name in self._bridges:
                self.mininet.addHost(name, cls=BridgedHost, namespace=namespace, bridge=self._bridges[name])
                continue
            self._prepare(name)
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
            apply(NO_IPV6)
            if ends[node] > 1:
                apply(FORWARD)
            apply(retries(self._patience.get(node, 0.0)))

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
        if node in self._bridges:
            bridge_filter.deafen(self._namespaces[node], {address[other] for other in after})
            return
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


def _move_local_rule(ip: IPRoute, before: int, after: int) -> None:
    """Change the priority of the rule for the node's own addresses. At every moment there is at least one such rule."""
    ip.rule("add", priority=after, **_LOCAL)
    ip.rule("del", priority=before, **_LOCAL)
