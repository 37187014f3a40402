"""The network of a run: Mininet's hosts, switches and links, where a host's network is a container's.

    container a ─ eth0 ══ link ══ s1-eth1 ─ bridge s1 ─ s1-eth2 ══ link ══ eth0 ─ container b
    └ its own namespace                     └ the run's namespace           └ its own namespace

Mininet keeps the graph and runs commands in the nodes; the links are made by a backend.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from mininet.link import Link as MininetLink
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import Host, Node, Switch
from pyroute2 import IPRoute

from testbed.emulation.links.backend import End, Links
from testbed.emulation.namespace import Namespace
from testbed.spec.link import Link
from testbed.spec.topology import Topology

SUBNET = ipaddress.ip_network("10.0.0.0/16")
"""Where the nodes' addresses come from. It is seen in the run's namespaces only."""


def addresses(topology: Topology) -> dict[str, str]:
    """The IP address of every node: the first of :data:`SUBNET`, in the order of the file."""
    return {name: str(address) for name, address in zip(topology.nodes, SUBNET.hosts(), strict=False)}


class ContainerHost(Host):  # type: ignore[misc]
    """A Mininet host in the network namespace of a container, with the programs and files of this machine."""

    def __init__(self, name: str, namespace: Namespace, **params: Any) -> None:
        self.namespace = namespace
        # Mininet would make a namespace and move interfaces into it; the container's is there, and its link's backend
        # puts the interface straight into it.
        super().__init__(name, inNamespace=False, **params)

    def _popen(self, cmd: list[str], **params: Any) -> "Popen[bytes]":
        # Mininet's own way in, `mnexec -a`, enters the mount namespace as well, where the image has no tools.
        process: Popen[bytes] = super()._popen(["nsenter", f"--net={self.namespace.path}", *cmd], **params)
        return process


class Bridge(Switch):  # type: ignore[misc]
    """A Linux bridge in the run's namespace, which is started by a thread that is there."""

    @property
    def namespace(self) -> Namespace:
        """The run's namespace, which its shell is in."""
        return Namespace.of_process(self.pid)

    def start(self, _controllers: object) -> None:
        """Make the bridge with its ports. It looks into no multicast, of which it would send reports of its own."""
        with IPRoute() as ip:
            ip.link("add", ifname=self.name, kind="bridge", br_mcast_snooping=0, state="up")
            index = ip.link_lookup(ifname=self.name)[0]
            for port in self.intfNames():
                if port != "lo":
                    ip.link("set", index=ip.link_lookup(ifname=port)[0], master=index, state="up")


class EmulatedLink(MininetLink):  # type: ignore[misc]
    """A Mininet link whose interfaces come from a link backend."""

    def __init__(self, a: Node, b: Node, link: Link, links: Links, **params: Any) -> None:
        self._link = link
        self._links = links
        self._nodes = (a, b)
        super().__init__(a, b, **params)

    def makeIntfPair(self, name1: str, name2: str, *_: object, **__: object) -> None:  # noqa: N802 (Mininet's name)
        """Called by Mininet between naming the interfaces and configuring them."""
        a, b = (End(name, node.namespace) for name, node in zip((name1, name2), self._nodes, strict=True))
        self._links.connect(self._link, a, b)
        self.ends = (a, b)

    def intfName(self, node: Node, n: int) -> str:  # noqa: N802 (Mininet's name)
        """``eth0`` in a container; ``s1-eth2`` on a switch, which finds its ports by that name."""
        name: str = f"eth{n}" if isinstance(node, ContainerHost) else super().intfName(node, n)
        return name


@dataclass(frozen=True)
class Traffic:
    """Bytes that a link has carried: ``up`` from its first end to its second, ``down`` back."""

    up: int
    down: int


class Network:
    """The network of one run. It is built by a thread that is in the run's namespace."""

    def __init__(self, topology: Topology, containers: Mapping[str, Namespace], links: Links) -> None:
        """``containers`` are the namespaces of the nodes' containers, by the node's name."""
        setLogLevel("error")  # its warnings are of cases that are meant, such as a node without a link
        Mininet.inited = True  # else its first instance raises limits and sysctls of the whole host
        self._mininet = Mininet(controller=None, switch=Bridge, ipBase=str(SUBNET), build=False)
        self._topology = topology
        self._ports: dict[Link, str] = {}
        self.ends: dict[Link, tuple[End, End]] = {}
        """Of every link: where its ``a`` and where its ``b`` is."""
        try:
            self._build(containers, links)
        except BaseException:
            self.stop()
            raise

    def _build(self, containers: Mapping[str, Namespace], links: Links) -> None:
        _forbid_ipv6()
        for name, address in addresses(self._topology).items():
            with containers[name].entered():
                _forbid_ipv6()
            self._mininet.addHost(
                name, cls=ContainerHost, namespace=containers[name], ip=f"{address}/{SUBNET.prefixlen}"
            )
        for name in self._topology.switches:
            self._mininet.addSwitch(name, dpid="1")  # an OpenFlow id, of which a bridge makes no use
        for link in self._topology.resolved_links:
            # Without a MAC address of Mininet's the kernel draws one, and four commands a link are saved.
            made = self._mininet.addLink(
                link.a, link.b, cls=EmulatedLink, link=link, links=links, addr1=None, addr2=None
            )
            self.ends[link] = made.ends
            self._ports[link] = made.intf2.name if link.b in self._topology.switches else made.intf1.name
        self._mininet.build()
        self._mininet.start()

    def traffic(self) -> dict[str, Traffic]:
        """What every link has carried so far, by the link's name, as counted at an end of it that is a switch."""
        counters = _interface_counters(self._mininet[self._topology.switches[0]].pid) if self._ports else {}
        gone = (0, 0)  # a port goes with the relay, should that end
        return {link.name: self._traffic(link, *counters.get(port, gone)) for link, port in self._ports.items()}

    def _traffic(self, link: Link, received: int, sent: int) -> Traffic:
        at_b = link.b in self._topology.switches
        return Traffic(up=received, down=sent) if at_b else Traffic(up=sent, down=received)

    def stop(self) -> None:
        """End Mininet's shells. The links go on; interfaces and bridges go with the namespaces that they are in."""
        for node in self._mininet.hosts + self._mininet.switches:
            node.terminate()


def _forbid_ipv6() -> None:
    """No router solicitations and the like: what the links carry is what the nodes send."""
    for scope in ("all", "default"):
        setting = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if setting.exists():
            setting.write_text("1")


def _interface_counters(pid: int) -> dict[str, tuple[int, int]]:
    """Bytes received and sent by every interface in the namespace of a process (proc(5), /proc/PID/net/dev)."""
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    fields = {name.strip(): values.split() for name, values in (line.split(":") for line in lines)}
    return {name: (int(values[0]), int(values[8])) for name, values in fields.items()}
