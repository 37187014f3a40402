"""TCP streams that stay open, in one direction.

A signed stream begins with the sender's name, a stamp and a tag. Then come records: the length of the data, a tag, and
the data. The tag counts the records, so none can be changed, repeated or left out.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from testbed.node.transport.door import Door
from testbed.node.transport.refusals import UnauthenticatedError
from testbed.node.transport.signing import STAMP_BYTES, TAG_BYTES, Signer, check, tag
from testbed.node.transport.sockets import bound
from testbed.node.transport.tls import certified_name

Accept = Callable[[str | None], asyncio.Protocol]
"""Makes the protocol of a connection, given the sender's name, None where nothing proves it.

Raises UnauthenticatedError if this node may not connect.
"""

_USE: Final = b"stream"
_LONGEST_NAME: Final = 63  # bytes, a hostname's
_LENGTH_BYTES: Final = 4
_MOST: Final = 2**16  # bytes of a record, which a receiver holds until it has the whole
_BUFFER: Final = 2**16
_GREETING: Final = 60.0  # seconds until a connection must have said whose it is, as long as a TLS handshake may take


class Outlet:
    """The sending end of a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes | None) -> None:
        self._reader = reader
        self._writer = writer
        self._key = key
        self._count = 0

    def write(self, data: bytes) -> None:
        """Send ``data`` at once."""
        if self._key is None:
            self._writer.write(data)
            return
        for begin in range(0, len(data), _MOST):
            self._writer.write(_record(self._key, self._count, data[begin : begin + _MOST]))
            self._count += 1

    async def ended(self) -> None:
        """Wait until the connection has ended; raises OSError if it broke."""
        while await self._reader.read(_BUFFER):  # nothing comes back on it but its end
            pass

    def abort(self) -> None:
        """Close the connection at once."""
        self._writer.transport.abort()


async def connect(host: str, port: int, patience: float, door: Door) -> Outlet:
    """A connection that sends small writes at once; raises OSError.

    The kernel ends it if sent bytes stay unacknowledged for ``patience`` seconds of the host's clock.
    """
    reader, writer = await asyncio.open_connection(host, port, ssl=door.tls.client if door.tls else None)
    endpoint: socket.socket = writer.get_extra_info("socket")
    endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(patience * 1000))
    signer = door.messages
    if signer is None:
        return Outlet(reader, writer, None)
    peer, name, stamp = door.names[host], signer.name.encode(), signer.stamp()
    writer.write(bytes([len(name)]) + name + stamp + signer.sign(peer, _USE, stamp))
    return Outlet(reader, writer, signer.sending_key(peer, _USE, stamp))


@asynccontextmanager
async def listening(accept: Accept, address: str, port: int, door: Door) -> AsyncIterator[None]:
    """Take connections that ``door`` lets in, each with a protocol of its own, for as long as the context lasts."""
    loop = asyncio.get_running_loop()

    def protocol() -> asyncio.Protocol:
        if door.messages is not None:
            return _Signed(accept, door, door.messages)
        return _Certified(accept, door) if door.tls is not None else accept(None)

    context = door.tls.server if door.tls else None
    # A server that serves from its creation on cannot be closed if the creation is cancelled.
    opened = bound(socket.SOCK_STREAM, address, port)
    server = await loop.create_server(protocol, sock=opened, ssl=context, start_serving=False)
    try:
        await server.start_serving()
        yield
    finally:
        server.close()


class _Guarded(asyncio.Protocol):
    """Hands a connection on to a protocol from ``accept`` once its sender is known."""

    def __init__(self, accept: Accept, door: Door) -> None:
        self._accept = accept
        self._door = door
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def eof_received(self) -> None:
        """Called by asyncio at the end of the stream."""
        if self._inner is not None:
            self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio when the connection has ended, on either side."""
        if self._inner is not None:
            self._inner.connection_lost(error)

    def _hand_on(self, sender: str) -> asyncio.Protocol:
        """The protocol of ``sender``; raises UnauthenticatedError."""
        assert self._transport is not None
        self._inner = self._accept(sender)
        self._inner.connection_made(self._transport)
        return self._inner

    def _refuse(self, error: UnauthenticatedError) -> None:
        assert self._transport is not None
        self._door.refusals.note("streams", str(error))
        self._transport.abort()


class _Certified(_Guarded):
    """A connection by TLS, whose certificate names the sender."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio after the handshake."""
        super().connection_made(transport)
        try:
            self._hand_on(certified_name(transport.get_extra_info))
        except UnauthenticatedError as error:
            self._refuse(error)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with the next bytes."""
        if self._inner is not None:
            self._inner.data_received(data)


class _Signed(_Guarded):
    """A signed connection."""

    def __init__(self, accept: Accept, door: Door, signer: Signer) -> None:
        super().__init__(accept, door)
        self._signer = signer
        self._data = bytearray()
        self._key = b""
        self._count = 0
        self._greeting = asyncio.get_running_loop().call_later(_GREETING, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with the next bytes."""
        assert self._transport is not None
        if self._transport.is_closing():  # it was refused
            return
        self._data += data
        try:
            inner = self._inner or self._greeted()
            while inner is not None and not self._transport.is_closing() and (content := self._next()) is not None:
                inner.data_received(content)
        except UnauthenticatedError as error:
            self._refuse(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio when the connection has ended, on either side."""
        self._greeting.cancel()
        super().connection_lost(error)

    def _greeted(self) -> asyncio.Protocol | None:
        """The sender's protocol, None while bytes of the greeting are missing; raises UnauthenticatedError."""
        if self._data[0] > _LONGEST_NAME:
            raise UnauthenticatedError("it does not say whose it is")
        names = 1 + self._data[0]
        if len(self._data) < names + STAMP_BYTES + TAG_BYTES:
            return None
        greeting = self._cut(names + STAMP_BYTES + TAG_BYTES)
        sender, stamp = greeting[1:names].decode(errors="replace"), greeting[names:-TAG_BYTES]
        self._signer.check(sender, greeting[-TAG_BYTES:], _USE, stamp)
        self._signer.admit(sender, stamp)
        self._greeting.cancel()
        self._key = self._signer.receiving_key(sender, _USE, stamp)
        return self._hand_on(sender)

    def _next(self) -> bytes | None:
        """The data of the next record, None while bytes of it are missing; raises UnauthenticatedError."""
        head = _LENGTH_BYTES + TAG_BYTES
        if len(self._data) < head:
            return None
        length = int.from_bytes(self._data[:_LENGTH_BYTES], "big")
        if not 0 < length <= _MOST:
            raise UnauthenticatedError(f"a record of {length} bytes; it may have {_MOST}")
        if len(self._data) < head + length:
            return None
        record = self._cut(head + length)
        check(self._key, record[_LENGTH_BYTES:head], self._count.to_bytes(8, "big"), record[head:])
        self._count += 1
        return record[head:]

    def _give_up(self) -> None:
        self._refuse(UnauthenticatedError("it does not say whose it is"))

    def _cut(self, count: int) -> bytes:
        data = bytes(self._data[:count])
        del self._data[:count]
        return data


def _record(key: bytes, count: int, data: bytes) -> bytes:
    return len(data).to_bytes(_LENGTH_BYTES, "big") + tag(key, count.to_bytes(8, "big"), data) + data
