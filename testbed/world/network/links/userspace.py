"""The userspace backend: each link is a pair of TAP devices, and one relay process per run forwards between all pairs.

a ──tap── relay: queue, then size ÷ bandwidth, then delay ──tap── b      and the same from b to a
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

from testbed.host.namespace import in_throwaway_namespace
from testbed.schema.network.direction import Direction
from testbed.schema.network.link import DirectionName
from testbed.schema.network.link_trace import LinkTrace
from testbed.world import companion
from testbed.world.journal import Journal
from testbed.world.network.links.backend import End, Health, LinkBackend, LinkError, Wiring
from testbed.world.network.links.jitter import QUANTILES, quantiles

# linux/if_tun.h, linux/sockios.h
_TUNSETIFF: Final = 0x400454CA
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_SIOCSIFTXQLEN: Final = 0x8943

_DEVICE_QUEUE: Final = 10_000
"""Frames that a TAP device holds for the relay. Linux's default of 500 would drop bursts on fast links."""

_NO_LIMIT: Final = 2**62
_SOCKET: Final = "relay.sock"
_ENDED: Final = "the relay of the links ended, and the links with it"
_SILENT: Final = "the relay of the links did not answer within {:g} s"

ANSWER_TIMEOUT: Final = 30.0
"""Seconds after which a relay that does not answer counts as failed. On an idle host it answers within 1 ms."""


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
        ("trace", ctypes.c_int64),
        ("cut", ctypes.c_int64),
        ("quantiles", ctypes.c_float * QUANTILES),
    )

    @classmethod
    def of(cls, direction: Direction) -> "WireProperties":
        room = direction.room
        queue_bytes = room.bytes
        if room.seconds is not None:
            queue_bytes = round(min(room.seconds * direction.rate / 8, _NO_LIMIT))
        return cls(
            ns_per_byte=8e9 / direction.bandwidth if direction.bandwidth else 0.0,
            delay=round(direction.delay * 1e9),
            jitter=direction.jitter.deviation * 1e9,
            correlation=direction.jitter.correlation,
            to_bad=direction.loss.to_bad,
            to_good=direction.loss.to_good,
            in_good=direction.loss.in_good,
            in_bad=direction.loss.in_bad,
            duplicate=direction.duplicate,
            reorder=direction.reorder,
            corrupt=direction.corrupt,
            queue_frames=_NO_LIMIT if room.packets is None else room.packets,
            queue_bytes=_NO_LIMIT if queue_bytes is None else queue_bytes,
            opportunities=len(direction.trace.opportunities) if direction.trace else 0,
            trace=zlib.crc32(nanoseconds(direction.trace)) if direction.trace else 0,
            cut=direction.cut,
            quantiles=(ctypes.c_float * QUANTILES)(*quantiles(direction.jitter.distribution)),
        )


class OrderKind(IntEnum):
    """``order.what`` of relay.c."""

    CONNECT = 1
    SHAPE = 2
    HEALTH = 3


class Order(ctypes.Structure):
    """``struct order`` of relay.c."""

    _fields_ = (
        ("what", ctypes.c_int64),
        ("link", ctypes.c_int64),
        ("seed", ctypes.c_uint64 * 2),
        ("direction", WireProperties * 2),
    )


class UserspaceLinks:
    """The links of a run, all served by one relay."""

    def __init__(self, directory: Path, answer_timeout: float = ANSWER_TIMEOUT) -> None:
        """Connect to the relay whose socket is in ``directory``.

        Raises LinkError if the relay is gone or does not answer within ``answer_timeout`` seconds, here and in
        ``connect`` and ``shape``.
        """
        self._answer_timeout = answer_timeout
        self._relay = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._relay.settimeout(answer_timeout)
        with self._told_of_failures():
            self._relay.connect(str(directory / _SOCKET))

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
            self._order(OrderKind.CONNECT, wiring, [a, b])

    def shape(self, wiring: Wiring, _: Collection[DirectionName]) -> None:
        """Send the relay both directions. For the relay, equal properties are no change."""
        self._order(OrderKind.SHAPE, wiring, [])

    def moved(self, wiring: Wiring, end: End) -> None:
        """Nothing to mend: the relay holds the device open in whichever namespace it is."""

    def health(self, wirings: Sequence[Wiring]) -> Health:
        """The relay's own figures. Its failure is the links' failure, since their devices are deleted with it."""
        try:
            answer = array.array("q", self._exchange(Order(what=OrderKind.HEALTH), [], 8 * (len(wirings) + 1)))
        except LinkError as error:
            return Health(failure=str(error))
        lost = {wiring.link.name: frames for wiring, frames in zip(wirings, answer[1:], strict=True) if frames}
        return Health(lateness=answer[0] / 1e9, lost=lost)

    def _order(self, what: OrderKind, wiring: Wiring, devices: list[int]) -> None:
        link = wiring.link
        order = Order(what=what, link=wiring.number)
        order.seed = (wiring.stream("up"), wiring.stream("down"))
        order.direction = (WireProperties.of(link.up), WireProperties.of(link.down))
        with trace_files(link.up.trace, link.down.trace) as files:
            (error,) = struct.unpack("q", self._exchange(order, [*devices, *files], 8))
        if error:
            raise LinkError(f"the relay refused the link {link.name}: {os.strerror(error)}")

    def _exchange(self, order: Order, files: list[int], size: int) -> bytes:
        """The answer to an order, of ``size`` bytes."""
        with self._told_of_failures():
            socket.send_fds(self._relay, [bytes(order)], files)
            answer = self._relay.recv(size)
            if len(answer) != size:
                raise ConnectionResetError
            return answer

    @contextmanager
    def _told_of_failures(self) -> Iterator[None]:
        """Raise LinkError instead of OSError.

        The socket is closed as well: an answer that is late would be taken for that to the next order.
        """
        try:
            yield
        except OSError as error:
            self._relay.close()
            silent = isinstance(error, TimeoutError)
            raise LinkError(_SILENT.format(self._answer_timeout) if silent else _ENDED) from None


def nanoseconds(trace: LinkTrace) -> bytes:
    """The opportunities of a trace as the relay reads them: an array of int64."""
    return array.array("q", (time * 1_000_000 for time in trace.opportunities)).tobytes()


@contextmanager
def trace_files(*traces: LinkTrace | None) -> Iterator[list[int]]:
    """Descriptors of anonymous files with the opportunities of each trace that is not None; closed at the end."""
    files = []
    try:
        for trace in traces:
            if trace is not None:
                files.append(os.memfd_create("trace"))
                os.write(files[-1], nanoseconds(trace))
        yield files
    finally:
        for file in files:
            os.close(file)


@contextmanager
def _open_tap(end: End) -> Iterator[int]:
    """A new TAP device in the end's namespace. The kernel deletes it when its last descriptor is closed."""
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
    def attempt() -> None:
        with Path("/dev/net/tun").open("r+b", buffering=0) as tap:
            fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", b"probe0", _IFF_TAP | _IFF_NO_PI))

    try:
        in_throwaway_namespace(attempt)
    except OSError as error:
        return f"no TAP device can be made ({error})"
    return None


USERSPACE = LinkBackend(
    "userspace",
    _missing,
    lambda _: None,
    lambda _before, _after: None,
    UserspaceLinks.begin,
    UserspaceLinks,
    summary="TAP devices with a relay process between them, for kernels without netem.",
    precedence=2,
)
"""For kernels without netem."""
