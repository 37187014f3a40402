"""The kernel backend: each link is a veth pair. Its sending end has rate and queue, its receiving end the rest.

    a ─► TBF: queue, rate ──veth──► IFB with netem: rate, delay, jitter, loss, … ─► b      and the same from b to a

The token bucket (tc-tbf(8)) delays the sender, as a network card does. Frames that pass an idle bucket at once get
their transmission time from netem's rate (tc-netem(8)), which also keeps frames in order. netem is at the receiving
end because at the sending end it would fill TCP's small queues and report losses to the sender's TCP.
"""

import socket
import struct
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from testbed.host.namespace import in_throwaway_namespace
from testbed.schema.network.direction import Direction, Jitter, Loss
from testbed.schema.network.link import DIRECTIONS, DirectionName
from testbed.schema.network.link_trace import FRAME
from testbed.world.journal import Journal
from testbed.world.network.links.backend import End, Health, LinkBackend, Wiring
from testbed.world.network.links.jitter import quantiles
from testbed.world.network.netlink import (
    CHANGE,
    CREATE,
    NEW_FILTER,
    NEW_LINK,
    NEW_QDISC,
    RouteSocket,
    attribute,
    message,
)

_UNLIMITED: Final = 12_500_000_000
"""Bytes per second where there is no limit: a full frame takes 0.1 µs. Without a rate netem does not keep the order."""

_BURST: Final = 0.004
"""Size of the bucket in seconds of its rate. A timer that is late by as much costs no throughput."""

_MOST: Final = 2**31 - 1

# linux/if_link.h, linux/if.h, linux/veth.h
_IFNAME, _LINKINFO, _NET_NS_FD, _GSO_MAX_SEGS = 3, 18, 28, 40
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFF_UP: Final = 1

# linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h
_KIND, _OPTIONS = 1, 2
_ROOT, _TO_INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_TBF_PARMS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_TBF, _INGRESS, _NETEM = 0x10000, 0xFFFF0000, 0x20000  # handles 1:, ffff: and 2:
_PACKETS, _BYTES = 0xA0000, 0xB0000  # handles a: and b:, of the queue inside the bucket
_NETEM_DIST, _NETEM_REORDER, _NETEM_CORRUPT, _NETEM_LOSS, _NETEM_RATE = 2, 3, 4, 5, 6
_NETEM_RATE64, _NETEM_LATENCY64, _NETEM_JITTER64, _NETEM_SEED = 8, 10, 11, 14
_GILBERT_ELLIOTT: Final = 2
_DIST_SCALE: Final = 8192
_MATCHALL_ACT, _ACT_KIND, _ACT_OPTIONS, _MIRRED_PARMS = 2, 1, 2, 2
_STOLEN, _EGRESS_REDIRECT = 4, 1
_ALL_PROTOCOLS: Final = 1 << 16 | socket.htons(0x0003)  # priority 1, ETH_P_ALL


class KernelLinks:
    """The links of a run. The kernel keeps their whole state, in the run's namespaces."""

    def connect(self, wiring: Wiring) -> None:
        """Create a veth pair across the namespaces and shape what passes it."""
        with wiring.a.namespace.path.open() as home_a, wiring.b.namespace.path.open() as home_b, RouteSocket() as here:
            here.send([_veth(wiring.a.interface, home_a.fileno(), wiring.b.interface, home_b.fileno())])
        for out in DIRECTIONS:
            _set_up(wiring, out)

    def shape(self, wiring: Wiring, directions: Collection[DirectionName]) -> None:
        """Change the disciplines of these directions alone: a changed discipline restarts its random sequence."""
        for out in DIRECTIONS:
            _change(wiring, out, directions)

    def moved(self, wiring: Wiring, end: End) -> None:
        """Set up the moved end again: the kernel removes the disciplines of a device that moves.

        The IFB device of that end was deleted with the old namespace.
        """
        _set_up(wiring, "up" if end == wiring.a else "down")

    def health(self, _: Sequence[Wiring]) -> Health:
        """No failure: the links last as long as their namespaces."""
        return Health()


def _set_up(wiring: Wiring, out: DirectionName) -> None:
    """Add the disciplines of one end: for frames that leave in the direction ``out``, and for those that arrive."""
    end, direction, into = _end(wiring, out), wiring.link.direction(out), _back(out)
    with end.namespace.entered(), RouteSocket() as here:
        here.send([_link(_arrivals(wiring, out), "ifb")])
        leaving, arriving = (socket.if_nametoindex(name) for name in (end.interface, _arrivals(wiring, out)))
        here.send(
            [
                _qdisc(CREATE, leaving, _ROOT, _TBF, "tbf", _tbf(direction)),
                _queue(CREATE, leaving, direction),
                _qdisc(CREATE, arriving, _ROOT, _NETEM, "netem", _netem(wiring, into)),
                _qdisc(CREATE, leaving, _TO_INGRESS, _INGRESS, "ingress", b""),
                _redirect(leaving, arriving),
            ]
        )


def _change(wiring: Wiring, out: DirectionName, directions: Collection[DirectionName]) -> None:
    """Change the disciplines of ``directions`` at the end that frames of direction ``out`` leave from."""
    end, direction, into = _end(wiring, out), wiring.link.direction(out), _back(out)
    with end.namespace.entered(), RouteSocket() as here:
        leaving, arriving = (socket.if_nametoindex(name) for name in (end.interface, _arrivals(wiring, out)))
        if out in directions:
            here.send(
                [
                    _queue(CHANGE, leaving, direction),
                    _qdisc(CHANGE, leaving, _ROOT, _TBF, "tbf", _tbf(direction)),
                ]
            )
        if into in directions:
            here.send([_qdisc(CHANGE, arriving, _ROOT, _NETEM, "netem", _netem(wiring, into))])


def _end(wiring: Wiring, out: DirectionName) -> End:
    """The end that frames of direction ``out`` leave from."""
    return wiring.a if out == "up" else wiring.b


def _back(direction: DirectionName) -> DirectionName:
    return "down" if direction == "up" else "up"


def _arrivals(wiring: Wiring, out: DirectionName) -> str:
    """The IFB device for arriving frames at the end that frames of direction ``out`` leave from."""
    return f"ifb{wiring.number}{'a' if out == 'up' else 'b'}"


# The messages' contents: struct ifinfomsg, tcmsg, tc_tbf_qopt, tc_fifo_qopt, tc_netem_qopt, tc_mirred


def _link(name: str, kind: str, data: bytes = b"", more: bytes = b"", flags: int = _IFF_UP) -> bytes:
    info = attribute(_INFO_KIND, kind) + (attribute(_INFO_DATA, data) if data else b"")
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, flags, flags)
    return message(NEW_LINK, CREATE, body + attribute(_IFNAME, name) + more + attribute(_LINKINFO, info))


def _veth(name: str, home: int, peer_name: str, peer_home: int) -> bytes:
    # Otherwise the disciplines see one packet of up to 64 KiB where a link carries dozens of frames.
    one_by_one = attribute(_GSO_MAX_SEGS, 1)
    peer = bytes(16) + attribute(_IFNAME, peer_name) + attribute(_NET_NS_FD, peer_home) + one_by_one
    return _link(name, "veth", attribute(_VETH_PEER, peer), attribute(_NET_NS_FD, home) + one_by_one, flags=0)


def _traffic_control(index: int, handle: int, parent: int, info: int, kind: str, options: bytes) -> bytes:
    head = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, handle, parent, info)
    return head + attribute(_KIND, kind) + attribute(_OPTIONS, options)


def _qdisc(flags: int, index: int, parent: int, handle: int, kind: str, options: bytes) -> bytes:
    return message(NEW_QDISC, flags, _traffic_control(index, handle, parent, 0, kind, options))


def _redirect(source: int, target: int) -> bytes:
    """Redirect all frames that arrive at ``source`` through the disciplines of ``target``."""
    parameters = struct.pack("=IIiiiiI", 0, 0, _STOLEN, 0, 0, _EGRESS_REDIRECT, target)
    action = attribute(_ACT_KIND, "mirred") + attribute(_ACT_OPTIONS, attribute(_MIRRED_PARMS, parameters))
    options = attribute(_MATCHALL_ACT, attribute(1, action))
    return message(NEW_FILTER, CREATE, _traffic_control(source, 0, _INGRESS, _ALL_PROTOCOLS, "matchall", options))


def _bytes_per_second(direction: Direction) -> int:
    return round(direction.bandwidth / 8) if direction.bandwidth else _UNLIMITED


def _room(direction: Direction) -> tuple[int, int, str]:
    """The queue's room, its handle and its kind: ``pfifo`` counts packets, ``bfifo`` bytes."""
    room = direction.room
    if room.packets is not None:
        return min(room.packets, _MOST), _PACKETS, "pfifo"
    amount = room.bytes if room.bytes is not None else round((room.seconds or 0.0) * _bytes_per_second(direction))
    return max(FRAME, min(amount, _MOST)), _BYTES, "bfifo"


def _tbf(direction: Direction) -> bytes:
    rate, (limit, _, _) = _bytes_per_second(direction), _room(direction)
    rate_spec = struct.pack("=BBHhHI", 0, 1, 0, 0, 0, min(rate, 2**32 - 1))  # 1: TC_LINKLAYER_ETHERNET
    parameters = rate_spec + bytes(12) + struct.pack("=III", limit, 0, 0)
    burst = min(max(FRAME, round(rate * _BURST)), _MOST)
    return b"".join(
        [
            attribute(_TBF_PARMS, parameters),
            attribute(_TBF_RATE64, struct.pack("=Q", rate)),
            attribute(_TBF_BURST, burst),
        ]
    )


def _queue(flags: int, index: int, direction: Direction) -> bytes:
    limit, handle, kind = _room(direction)
    return _qdisc(flags, index, _TBF | 1, handle, kind, struct.pack("=I", limit))


def _netem(wiring: Wiring, out: DirectionName) -> bytes:
    direction = wiring.link.direction(out)
    rate = _bytes_per_second(direction)
    overtaking = 1 if direction.reorder else 0  # the gap: frames that are delayed for each one that is not
    fixed = struct.pack("=IIIIII", 0, _MOST, 0, overtaking, _share(direction.duplicate), 0)
    return fixed + b"".join(
        [
            attribute(_NETEM_LATENCY64, struct.pack("=q", round(direction.delay * 1e9))),
            attribute(_NETEM_JITTER64, struct.pack("=q", round(direction.jitter.deviation * 1e9))),
            attribute(_NETEM_DIST, _distribution(direction.jitter)),
            attribute(_NETEM_REORDER, struct.pack("=II", _share(direction.reorder), 0)),
            attribute(_NETEM_CORRUPT, struct.pack("=II", _share(direction.corrupt), 0)),
            attribute(_NETEM_LOSS, attribute(_GILBERT_ELLIOTT, _channel(direction))),
            attribute(_NETEM_RATE, struct.pack("=IiIi", min(rate, 2**32 - 1), 0, 0, 0)),
            attribute(_NETEM_RATE64, struct.pack("=Q", rate)),
            attribute(_NETEM_SEED, struct.pack("=Q", wiring.stream(out))),  # otherwise each change draws a seed
        ]
    )


def _distribution(jitter: Jitter) -> bytes:
    values = [round(value * _DIST_SCALE) for value in quantiles(jitter.distribution)]
    return struct.pack(f"={len(values)}h", *values)


def _channel(direction: Direction) -> bytes:
    loss = Loss(in_good=1.0, in_bad=1.0) if direction.cut else direction.loss
    return struct.pack("=IIII", *map(_share, (loss.to_bad, loss.to_good, 1 - loss.in_bad, loss.in_good)))


def _share(probability: float) -> int:
    """A probability as netem's integer, in which 2³² - 1 is 1."""
    return round(probability * (2**32 - 1))


def _cannot(direction: Direction) -> str | None:
    if direction.trace is not None:
        return "cannot replay a trace"
    if direction.jitter.correlation:
        return "cannot correlate the jitter of one frame with the next"  # netem's table discards netem's own
    return None


def _cannot_change(before: Direction, after: Direction) -> str | None:
    (_, _, kind), (_, _, wanted) = _room(before), _room(after)
    if kind == wanted:
        return None
    return "cannot turn a queue of packets into one of bytes or time, or back, in a link that runs"


def _missing() -> str | None:
    def attempt() -> None:
        with RouteSocket() as here:
            here.send([_link("probe0", "ifb")])
            index = socket.if_nametoindex("probe0")
            here.send([_qdisc(CREATE, index, _ROOT, _TBF, "tbf", _tbf(Direction()))])
            here.send([_qdisc(CREATE, index, _TO_INGRESS, _INGRESS, "ingress", b"")])
            here.send([_redirect(index, index)])
            here.send([_link("probe1", "ifb")])
            plain = struct.pack("=IIIIII", 0, _MOST, 0, 0, 0, 0)
            here.send([_qdisc(CREATE, socket.if_nametoindex("probe1"), _ROOT, _NETEM, "netem", plain)])

    try:
        in_throwaway_namespace(attempt)
    except OSError as error:
        return f"the kernel lacks netem, TBF, IFB or the mirred action ({error.strerror})"
    return None


def _begin(_journal: Journal, _directory: Path) -> KernelLinks:
    return KernelLinks()


KERNEL = LinkBackend(
    name="kernel",
    missing=_missing,
    cannot=_cannot,
    cannot_change=_cannot_change,
    begin=_begin,
    attach=lambda _: KernelLinks(),
    summary="A veth pair with the kernel's TBF and netem.",
    precedence=1,
)
"""The backend for kernels with netem."""
