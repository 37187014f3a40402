"""UDP datagrams between nodes, for heartbeats. A signed one begins with its sender's name, a stamp and a tag."""

import asyncio
import socket
from collections.abc import Callable

from testbed.node.transport.door import Door
from testbed.node.transport.refusals import UnauthenticatedError
from testbed.node.transport.signing import STAMP_BYTES, TAG_BYTES, Signer
from testbed.node.transport.sockets import bound

_USE = b"datagram"


Receive = Callable[[bytes, str | None], None]
"""Takes the content of a datagram, and its sender's name, None where nothing proves it."""


class Datagrams(asyncio.DatagramProtocol):
    """One UDP socket. ``receive`` is called with every datagram that ``door`` lets in."""

    def __init__(self, receive: Receive, door: Door) -> None:
        self._receive = receive
        self._door = door
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, address: str, port: int) -> None:
        """Bind the socket; raises OSError."""
        loop = asyncio.get_running_loop()
        opened = bound(socket.SOCK_DGRAM, address, port)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=opened)

    def send(self, data: bytes, host: str, port: int) -> None:
        """Send one datagram; it may be lost. Before :meth:`open` and after :meth:`close`, nothing is sent."""
        if self._transport is None:
            return
        if self._door.datagrams is not None:
            data = signed(data, self._door.datagrams, self._door.names[host])
        self._transport.sendto(data, (host, port))

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:  # noqa: ARG002
        """Called by asyncio."""
        if self._door.datagrams is None:
            self._receive(data, None)
            return
        try:
            sender, content = opened(data, self._door.datagrams)
        except UnauthenticatedError as error:
            self._door.refusals.note("datagrams", str(error))
        else:
            self._receive(content, sender)


def signed(data: bytes, signer: Signer, peer: str) -> bytes:
    """``data`` as it is sent to ``peer``."""
    name, stamp = signer.name.encode(), signer.stamp()
    return bytes([len(name)]) + name + stamp + signer.sign(peer, _USE, stamp, data) + data


def opened(datagram: bytes, signer: Signer) -> tuple[str, bytes]:
    """The sender and the content of a signed datagram; raises UnauthenticatedError."""
    length = datagram[0] if datagram else 0
    name, rest = datagram[1 : 1 + length], datagram[1 + length :]
    stamp, tag, data = rest[:STAMP_BYTES], rest[STAMP_BYTES:][:TAG_BYTES], rest[STAMP_BYTES + TAG_BYTES :]
    sender = name.decode(errors="replace")
    signer.check(sender, tag, _USE, stamp, data)
    signer.admit(sender, stamp)
    return sender, data
