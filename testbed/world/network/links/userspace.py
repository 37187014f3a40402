"""Links made by a process: a pair of TAP devices, and one relay for all links of a run that forwards between them.

a ──tap── relay: waits its turn, takes size ÷ bandwidth, then the delay ──tap── b      and the same from b to a
"""

import array
import ctypes
import fcntl
import os
import socket
import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Final

from testbed.schema.network.link import Direction, Way
from testbed.schema.network.trace import Trace
from testbed.world import companion
from testbed.world.journal import Journal
from testbed.world.network.links.backend import End, Health, LinkBackend, LinkError, Wiring
from testbed.world.network.links.jitter import QUANTILES, quantiles
from testbed.world.network.namespace import in_throwaway_namespace

# linux/if_tun.h, linux/sockios.h
_TUNSETIFF: Final = 0x400454CA
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_SIOCSIFTXQLEN: Final = 0x8943

_DEVICE_QUEUE: Final = 10_000
"""Frames that a TAP device holds for the relay. With the usual 500 a burst on a fast link would be lost unasked."""

_NO_LIMIT: Final = 2**62
_SOCKET: Final = "relay.sock"
_ENDED: Final = "the relay of the links ended, and the links with it"


class WireProperties(ctypes.Structure):
    """``struct properties`` of wire.h."""

    _fields_ = (
        ("ns_per_byte", ctypes.c_double),
        ("delay", ctypes.c_int64),
        ("jitter", ctypes.c_double),
        ("correlation", ctypes.c_double),
        ("to_bad", ctypes.c_double),
        ("to_good", ctypes.c_double),
        ("in_good", ctypes.c_double),
        ("in_bad", ctypes.c_double),
        ("duplicate", ctypes.c_double),
        ("reorder", ctypes.c_double),
        ("corrupt", ctypes.c_double),
        ("queue_frames", ctypes.c_int64),
        ("queue_bytes", ctypes.c_int64),
        ("opportunities", ctypes.c_int64),
        ("recording", ctypes.c_int64),
        ("cut", ctypes.c_int64),
        ("quantiles", ctypes.c_float * QUANTILES),
    )

    @classmethod
    def of(cls, way: Direction) -> "WireProperties":
        """What the relay is to make of a direction."""
        room = way.room
        queue_bytes = room.bytes
        if room.seconds is not None:
            queue_bytes = round(min(room.seconds * way.rate / 8, _NO_LIMIT))
        return cls(
            ns_per_byte=8e9 / way.bandwidth if way.bandwidth else 0.0,
            delay=round(way.delay * 1e9),
            jitter=way.jitter.deviation * 1e9,
            correlation=way.jitter.correlation,
            to_bad=way.loss.to_bad,
            to_good=way.loss.to_good,
            in_good=way.loss.in_good,
            in_bad=way.loss.in_bad,
            duplicate=way.duplicate,
            reorder=way.reorder,
            corrupt=way.corrupt,
            queue_frames=_NO_LIMIT if room.packets is None else room.packets,
            queue_bytes=_NO_LIMIT if queue_bytes is None else queue_bytes,
            opportunities=len(way.trace.opportunities) if way.trace else 0,
            recording=zlib.crc32(nanoseconds(way.trace)) if way.trace else 0,
            cut=way.cut,
            quantiles=(ctypes.c_float * QUANTILES)(*quantiles(way.jitter.distribution)),
        )


class What(IntEnum):
    """The orders that the relay knows."""

    CONNECT = 1
    SHAPE = 2
    HEALTH = 3


class Order(ctypes.Structure):
    """``struct order`` of relay.c."""

    _fields_ = (
        ("what", ctypes.c_int64),
        ("link", ctypes.c_int64),
        ("seed", ctypes.c_uint64 * 2),
        ("way", WireProperties * 2),
    )


class UserspaceLinks:
    """The links of a run, which one relay serves."""

    def __init__(self, directory: Path) -> None:
        """Speak with the relay whose socket is in ``directory``; raises LinkError if it is gone."""
        self._relay = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._relay.connect(str(directory / _SOCKET))
        except OSError:
            raise LinkError(_ENDED) from None

    @classmethod
    def begin(cls, journal: Journal, directory: Path) -> "UserspaceLinks":
        """Start the relay."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(directory / _SOCKET))
            listener.listen()
            inherited = listener.fileno()
            companion.start(journal, "testbed.world.network.links.relay", str(inherited), descriptors=[inherited])
        return cls(directory)

    def connect(self, wiring: Wiring) -> None:
        """Create the two TAP devices and hand them to the relay."""
        with _open_tap(wiring.a) as a, _open_tap(wiring.b) as b:
            self._order(What.CONNECT, wiring, [a, b])

    def shape(self, wiring: Wiring, _: Collection[Way]) -> None:
        """Tell the relay, to which a way that is as before is no change."""
        self._order(What.SHAPE, wiring, [])

    def moved(self, wiring: Wiring, end: End) -> None:
        """The relay holds the device itself, wherever that is."""

    def health(self, wirings: Sequence[Wiring]) -> Health:
        """The devices go with the relay, so that nothing is carried without it."""
        try:
            answer = array.array("q", self._exchange(Order(what=What.HEALTH), [], 8 * (len(wirings) + 1)))
        except LinkError as error:
            return Health(failure=str(error))
        lost = {wiring.link.name: frames for wiring, frames in zip(wirings, answer[1:], strict=True) if frames}
        return Health(lateness=answer[0] / 1e9, lost=lost)

    def _order(self, what: What, wiring: Wiring, devices: list[int]) -> None:
        link = wiring.link
        order = Order(what=what, link=wiring.number)
        order.seed = (wiring.stream("up"), wiring.stream("down"))
        order.way = (WireProperties.of(link.up), WireProperties.of(link.down))
        with recordings(link.up.trace, link.down.trace) as files:
            (error,) = struct.unpack("q", self._exchange(order, [*devices, *files], 8))
        if error:
            raise LinkError(f"the relay refused the link {link.name}: {os.strerror(error)}")

    def _exchange(self, order: Order, files: list[int], size: int) -> bytes:
        try:
            socket.send_fds(self._relay, [bytes(order)], files)
            answer = self._relay.recv(size)
        except OSError:
            answer = b""
        if len(answer) != size:
            raise LinkError(_ENDED)
        return answer


def nanoseconds(trace: Trace) -> bytes:
    """The opportunities of a trace as the relay takes them: 64-bit numbers."""
    return array.array("q", (time * 1_000_000 for time in trace.opportunities)).tobytes()


@contextmanager
def recordings(*traces: Trace | None) -> Iterator[list[int]]:
    """Files in memory with the opportunities of each trace, which are gone once nobody has them open."""
    files = []
    try:
        for trace in traces:
            if trace is not None:
                files.append(os.memfd_create("recording"))
                os.write(files[-1], nanoseconds(trace))
        yield files
    finally:
        for file in files:
            os.close(file)


@contextmanager
def _open_tap(end: End) -> Iterator[int]:
    """A TAP device in the end's namespace; it stays there, and lives as long as anybody has it open."""
    with end.namespace.entered(), closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as any_socket:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        try:
            name = end.interface.encode()
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name, _IFF_TAP | _IFF_NO_PI))
            fcntl.ioctl(any_socket, _SIOCSIFTXQLEN, struct.pack("16si20x", name, _DEVICE_QUEUE))
        except BaseException:
            os.close(descriptor)
            raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _missing() -> str | None:
    """Found by trying."""

    def attempt() -> None:
        with Path("/dev/net/tun").open("r+b", buffering=0) as tap:
            fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", b"probe0", _IFF_TAP | _IFF_NO_PI))

    try:
        in_throwaway_namespace(attempt)
    except OSError as error:
        return f"no TAP device can be made ({error})"
    return None


USERSPACE = LinkBackend(
    "userspace", _missing, lambda _: None, lambda _before, _after: None, UserspaceLinks.begin, UserspaceLinks
)
"""The backend for kernels without netem."""
