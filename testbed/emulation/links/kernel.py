"""Links made by the kernel: a veth pair with netem where packets leave.

    a ── netem: waits its turn, takes size ÷ bandwidth, then the delay ──veth──► b      and the same from b to a

netem's own rate (tc-netem(8)) gives every packet the time that its size takes. A token bucket, which needs a burst of
at least one full frame, lets small messages on an idle link through in no time.
"""

from math import ceil

from pyroute2 import IPRoute, NetlinkError
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_NEWQDISC, TC_H_ROOT
from pyroute2.netlink.rtnl.tcmsg import sched_netem, tcmsg

from testbed.emulation.links import QUEUE_FRAMES
from testbed.emulation.links.backend import End, Health, LinkBackend
from testbed.emulation.namespace import in_throwaway_namespace
from testbed.spec.link import Direction, Link

_SMALLEST_FRAME = 60  # bytes
_UNLIMITED = 10e9  # bit/s; for the length of a queue behind which nothing waits


class KernelLinks:
    """The links of a run, all of which are in its namespaces."""

    def health(self) -> Health:
        """The kernel keeps them as long as there are namespaces."""
        return Health()

    def connect(self, link: Link, a: End, b: End) -> None:
        """Create a veth pair across the namespaces and shape what leaves at each end."""
        with a.namespace.path.open() as home_a, b.namespace.path.open() as home_b, IPRoute() as ip:
            peer = {"ifname": b.interface, "net_ns_fd": home_b.fileno()}
            ip.link("add", ifname=a.interface, kind="veth", net_ns_fd=home_a.fileno(), peer=peer)
        _shape(a, link.up)
        _shape(b, link.down)


def _shape(end: End, direction: Direction) -> None:
    with end.namespace.entered(), IPRoute() as ip:
        index = ip.link_lookup(ifname=end.interface)[0]
        # Without this netem and the counters would see one packet of up to 64 KiB where a link carries dozens.
        ip.link("set", index=index, gso_max_segs=1)
        _add_netem(ip, index, direction)


def _add_netem(ip: IPRoute, index: int, direction: Direction) -> None:
    bandwidth = direction.bandwidth
    on_the_way = (bandwidth or _UNLIMITED) * direction.delay / 8 / _SMALLEST_FRAME
    options = sched_netem.get_parameters(
        {
            "delay": round(direction.delay * 1e6),  # microseconds
            "rate": None if bandwidth is None else round(bandwidth / 8),  # bytes per second
            "limit": QUEUE_FRAMES + ceil(on_the_way),  # netem counts what is on its way as well as what waits
        }
    )
    # pyroute2's own IPRoute.tc() would send a rate of netem's as the discipline's estimator, too, and be refused.
    message = tcmsg()
    message["index"], message["parent"] = index, TC_H_ROOT
    message["attrs"] = [("TCA_KIND", "netem"), ("TCA_OPTIONS", options)]
    message["header"]["type"] = RTM_NEWQDISC
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
    ip.nlm_request_batch([message])


def _missing() -> str | None:
    """Found by trying."""

    def attempt() -> None:
        with IPRoute() as ip:
            ip.link("add", ifname="probe0", kind="veth", peer="probe1")
            _add_netem(ip, ip.link_lookup(ifname="probe0")[0], Direction(bandwidth=1e6, delay=1e-3))

    try:
        in_throwaway_namespace(attempt)
    except (NetlinkError, OSError) as error:
        return f"the kernel has no netem ({error.args[-1]})"
    return None


KERNEL = LinkBackend("kernel", _missing, lambda _: KernelLinks())
"""The backend for kernels with netem."""
