"""HTTP: a client for requests to other nodes, and servers on a port or on a Unix socket."""

import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    TCPConnector,
    UnixConnector,
    web,
)
from aiohttp.http_exceptions import HttpProcessingError

from testbed.node.transport.sockets import bound

_KEPT: Final = 3600.0  # seconds that an idle connection stays open
_UNLIMITED: Final = ClientTimeout(total=None)  # callers limit their requests themselves
_BUFFERED: Final = 2**14  # bytes of a body that wait in a server to be read; twice as many stop the connection
_SHUTDOWN: Final = 60.0


def _without_traceback(record: logging.LogRecord) -> bool:
    """What is no HTTP is the client's mistake: one line in the log is enough."""
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.msg, record.args = "no HTTP: %s", (record.exc_info[1].message.partition("\n")[0],)
        record.exc_info = None
    return True


_LOGGER: Final = logging.getLogger("testbed.http")
_LOGGER.addFilter(_without_traceback)


class NoConnectionError(ConnectionError):
    """No connection to the server could be made."""


@dataclass(frozen=True)
class Reply:
    """The status and the body of a response."""

    status: int
    body: bytes


class HttpClient:
    """Sends requests over connections that stay open, as many at once as there are requests."""

    async def __aenter__(self) -> Self:
        self._session = ClientSession(connector=TCPConnector(limit=0, keepalive_timeout=_KEPT), timeout=_UNLIMITED)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def request(
        self, method: str, host: str, port: int, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """The reply to one request; waits for it without limit.

        Raises NoConnectionError, or ConnectionError if the connection ended before the reply was complete.
        """
        try:
            url = f"http://{host}:{port}{path}"
            async with self._session.request(method, url, data=body or None, headers=headers) as response:
                return Reply(response.status, await response.read())
        except ClientConnectorError as error:
            raise NoConnectionError("no connection") from error
        except ClientError as error:
            raise ConnectionError(str(error)) from error


class UnixReply:
    """A response as it comes in over a Unix socket."""

    def __init__(self, response: ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """The parts of the body as they arrive; raises ConnectionError if it is cut off."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (ClientError, OSError) as error:
            raise ConnectionError(str(error)) from error

    async def read(self) -> bytes:
        """The whole body; raises ConnectionError if it is cut off."""
        return b"".join([chunk async for chunk in self.chunks()])


class UnixClient:
    """Sends requests to the server behind a Unix socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def __aenter__(self) -> Self:
        connector = UnixConnector(str(self._socket), limit=0, keepalive_timeout=_KEPT)
        self._session = ClientSession("http://companion", connector=connector, timeout=_UNLIMITED)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    @asynccontextmanager
    async def posting(self, path: str, body: bytes) -> AsyncIterator[UnixReply]:
        """The response to a request with JSON; raises ConnectionError. The request ends with the context."""
        try:
            response = await self._session.post(path, data=body, headers={"Content-Type": "application/json"})
        except (ClientError, OSError) as error:
            raise ConnectionError(str(error)) from error
        try:
            yield UnixReply(response)
        finally:
            response.close()  # also one whose body has not come to its end


async def body_of(request: web.Request) -> bytes:
    """The body of a request to a server here; raises ConnectionError if it is cut off, or not encoded as it says."""
    body = bytearray()
    try:
        # Not by `request.read`, which lets every connection buffer as much as the largest body, read or not.
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > request.client_max_size:
                raise web.HTTPRequestEntityTooLarge(request.client_max_size)
        return bytes(body)
    except (ClientError, HttpProcessingError, web.RequestPayloadError, OSError) as error:
        raise ConnectionError(f"the body cannot be read: {error}") from error


@asynccontextmanager
async def serving(
    application: web.Application, address: str, port: int, shutdown: float = _SHUTDOWN
) -> AsyncIterator[None]:
    """Serve ``application`` on a TCP port of ``address`` for as long as the context lasts; raises OSError.

    A handler is cancelled when its connection ends. At the end, running handlers have ``shutdown`` seconds to finish.
    """
    async with _running(application, shutdown) as runner:
        await web.SockSite(runner, bound(socket.SOCK_STREAM, address, port)).start()
        yield


@asynccontextmanager
async def serving_unix(application: web.Application, path: Path, shutdown: float = _SHUTDOWN) -> AsyncIterator[None]:
    """Serve ``application`` on the Unix socket ``path``; otherwise as :func:`serving`."""
    async with _running(application, shutdown) as runner:
        await web.UnixSite(runner, str(path)).start()
        yield


@asynccontextmanager
async def _running(application: web.Application, shutdown: float) -> AsyncIterator[web.AppRunner]:
    runner = web.AppRunner(
        application,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=shutdown,
        logger=_LOGGER,
        read_bufsize=_BUFFERED,
        auto_decompress=False,  # a few bytes of a compressed body may stand for more than a node's memory
    )
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()
