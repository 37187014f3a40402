"""UDP datagrams between nodes, for heartbeats."""

import asyncio
import socket
from collections.abc import Callable

from testbed.node.transport.sockets import bound


class Datagrams(asyncio.DatagramProtocol):
    """One UDP socket. ``receive`` is called with the content of every datagram that comes in, whoever sent it."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, address: str, port: int) -> None:
        """Bind the socket; raises OSError."""
        loop = asyncio.get_running_loop()
        opened = bound(socket.SOCK_DGRAM, address, port)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=opened)

    def send(self, data: bytes, host: str, port: int) -> None:
        """Send one datagram; it may be lost. Before :meth:`open` and after :meth:`close`, nothing is sent."""
        if self._transport is not None:
            self._transport.sendto(data, (host, port))

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:  # noqa: ARG002
        """Called by asyncio."""
        self._receive(data)
