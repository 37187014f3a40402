"""The parts of Mininet's networks, in namespaces that exist."""

import socket
from collections.abc import Iterable, Sequence
from subprocess import Popen
from typing import Any

from mininet.link import Intf
from mininet.link import Link as MininetLink
from mininet.node import Host, Node, Switch
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import rt_scope
from pyroute2.netlink.rtnl.rtmsg import RTNH_F_ONLINK

from testbed.host.namespace import Namespace
from testbed.schema.network.link import Link
from testbed.world.network.links.backend import End
from testbed.world.network.links.running import RunningLinks
from testbed.world.network.routes import SUBNET, Route
from testbed.world.network.settings import apply, solicitations


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
            apply(solicitations(self.intfNames(), self._patience))
        for interface in self.intfList():
            interface.ip, interface.prefixLen = self._address, SUBNET.max_prefixlen  # returned by Mininet's IP()
        return {}

    def _add(self, ip: IPRoute, route: Route) -> None:
        hop = route.hop
        # The next node is at the link's other end or on the segment, so the kernel needs no route to it.
        way = {"gateway": hop.via, "flags": RTNH_F_ONLINK} if hop.via else {"scope": rt_scope["link"]}
        ip.route("add", dst=str(route.prefix), oif=socket.if_nametoindex(hop.interface), prefsrc=self._address, **way)


class BridgedHost(NamespaceNode, Host):  # type: ignore[misc]
    """A Mininet host in the namespace of a stand-in: the node itself is beyond the bridge called ``bridge``."""

    def __init__(self, name: str, namespace: Namespace, bridge: str, **params: Any) -> None:
        self.namespace = namespace
        self._bridge = bridge
        super().__init__(name, inNamespace=False, **params)

    def config(self, **_: object) -> dict[str, str]:
        """Make the ends of its links ports of the bridge. They have no address: the node has it."""
        with self.namespace.entered(), IPRoute() as ip:
            make_ports(ip, self._bridge, self.intfNames())
        return {}


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
            make_ports(ip, self.name, self.intfNames())


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


def make_ports(ip: IPRoute, bridge: str, interfaces: Iterable[str]) -> None:
    master = socket.if_nametoindex(bridge)
    for name in interfaces:
        ip.link("set", index=socket.if_nametoindex(name), master=master, state="up")
