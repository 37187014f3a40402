"""A node listens on its own address, and on no other one of the machine that it runs on."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import loopback
import pytest
from aiohttp import web

from testbed.node.transport.datagrams import Datagrams
from testbed.node.transport.door import Door
from testbed.node.transport.http import serving
from testbed.node.transport.sockets import bound
from testbed.node.transport.streams import listening

OWN, OTHER = loopback.address(1), loopback.address(2)
NOBODYS = "192.0.2.1"  # RFC 5737: no machine has it

Open = Callable[[AsyncExitStack, str, int], Awaitable[None]]


async def _http(stack: AsyncExitStack, address: str, port: int) -> None:
    await stack.enter_async_context(serving(web.Application(), address, port, Door(), shutdown=0.01))


async def _stream(stack: AsyncExitStack, address: str, port: int) -> None:
    await stack.enter_async_context(listening(lambda _: asyncio.Protocol(), address, port, Door()))


@pytest.mark.parametrize("listen", [_http, _stream])
def test_connections_come_to_one_address(listen: Open) -> None:
    async def scenario() -> None:
        port = loopback.free_port()
        async with AsyncExitStack() as stack:
            await listen(stack, OWN, port)
            _, writer = await asyncio.open_connection(OWN, port)
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(OTHER, port)

    asyncio.run(scenario())


def test_datagrams_come_to_one_address() -> None:
    async def scenario() -> None:
        port = loopback.free_port(socket.SOCK_DGRAM)
        received, came = list[bytes](), asyncio.Event()
        node = Datagrams(lambda data, _: (received.append(data), came.set())[0], Door())
        await node.open(OWN, port)
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.sendto(b"to another", (OTHER, port))
            client.sendto(b"to it", (OWN, port))
            await came.wait()
        node.close()
        assert received == [b"to it"]

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_the_address_may_come_later(kind: socket.SocketKind) -> None:
    with bound(kind, NOBODYS, loopback.free_port(kind)) as early:
        assert early.getsockname()[0] == NOBODYS
