"""Links made by the kernel: a veth pair with queueing disciplines where packets leave.

a ── netem: delay ── tbf: bandwidth ──veth──► b      and the same from b to a
"""

from math import ceil

from pyroute2 import IPRoute, NetlinkError

from testbed.emulation.journal import Journal
from testbed.emulation.links import FRAME, QUEUE_FRAMES
from testbed.emulation.links.backend import End
from testbed.emulation.namespace import in_throwaway_namespace
from testbed.spec.topology import Direction, Link

BURST = 2 * FRAME
"""Bytes that may leave at once. More would let small messages through without the time that they take to send."""


class KernelLinks:
    """The backend for kernels with netem and TBF."""

    name = "kernel"

    def start(self, journal: Journal) -> None:
        """Nothing: all that it makes is in the namespaces."""

    def connect(self, link: Link, a: End, b: End) -> None:
        """Create a veth pair across the namespaces and shape what leaves at each end."""
        with a.namespace.path.open() as home_a, b.namespace.path.open() as home_b, IPRoute() as ip:
            peer = {"ifname": b.interface, "net_ns_fd": home_b.fileno()}
            ip.link("add", ifname=a.interface, kind="veth", net_ns_fd=home_a.fileno(), peer=peer)
        _shape(a, link.up)
        _shape(b, link.down)

    def stop(self) -> None:
        """Nothing, for the same reason."""


def _shape(end: End, direction: Direction) -> None:
    with end.namespace.entered(), IPRoute() as ip:
        index = ip.link_lookup(ifname=end.interface)[0]
        _add_disciplines(ip, index, direction)


def _add_disciplines(ip: IPRoute, index: int, direction: Direction) -> None:
    root: dict[str, object] = {}
    if direction.delay:
        in_flight = (direction.bandwidth or 1e10) * direction.delay / 8 / FRAME
        limit = QUEUE_FRAMES + ceil(in_flight)
        ip.tc("add", "netem", index, "1:", delay=round(direction.delay * 1e6), limit=limit)  # microseconds
        root = {"parent": "1:1"}
    if direction.bandwidth is not None:
        rate = round(direction.bandwidth / 8)  # bytes per second
        ip.tc("add", "tbf", index, "2:", rate=rate, burst=max(BURST, rate // 1000), limit=QUEUE_FRAMES * FRAME, **root)


def missing() -> str | None:
    """What this kernel lacks for the backend, found by trying; None if it lacks nothing."""

    def attempt() -> None:
        with IPRoute() as ip:
            ip.link("add", ifname="probe0", kind="veth", peer="probe1")
            _add_disciplines(ip, ip.link_lookup(ifname="probe0")[0], Direction(bandwidth=1e6, delay=1e-3))

    try:
        in_throwaway_namespace(attempt)
    except (NetlinkError, OSError) as error:
        return f"the kernel has no netem or no TBF ({error})"
    return None
