"""TCP streams that stay open."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from testbed.node.transport.sockets import bound


async def connect(host: str, port: int, patience: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that sends small writes at once; raises OSError.

    The kernel ends it if sent bytes stay unacknowledged for ``patience`` seconds of the host's clock.
    """
    reader, writer = await asyncio.open_connection(host, port)
    endpoint: socket.socket = writer.get_extra_info("socket")
    endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(patience * 1000))
    return reader, writer


@asynccontextmanager
async def listening(accept: Callable[[], asyncio.Protocol], address: str, port: int) -> AsyncIterator[None]:
    """Take connections, each with a protocol of its own from ``accept``, for as long as the context lasts."""
    loop = asyncio.get_running_loop()
    # A server that serves from its creation on cannot be closed if the creation is cancelled.
    opened = bound(socket.SOCK_STREAM, address, port)
    server = await loop.create_server(accept, sock=opened, start_serving=False)
    try:
        await server.start_serving()
        yield
    finally:
        server.close()
