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
from aiohttp.typedefs import Handler
from yarl import URL

from testbed.node.transport.door import Door
from testbed.node.transport.refusals import UnauthenticatedError
from testbed.node.transport.signed_http import (
    HEADER,
    Signature,
    check_body,
    check_request,
    check_response,
    sign_request,
    sign_response,
)
from testbed.node.transport.sockets import bound
from testbed.node.transport.tls import certified_name

_KEPT: Final = 3600.0  # seconds that an idle connection stays open
_UNLIMITED: Final = ClientTimeout(total=None)  # callers limit their requests themselves
_BUFFERED: Final = 2**14  # bytes of a body that wait in a server to be read; twice as many stop the connection
_SHUTDOWN: Final = 60.0
_UNAUTHENTICATED: Final = 401


def _without_traceback(record: logging.LogRecord) -> bool:
    """What is no HTTP is the client's mistake: one line in the log is enough."""
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.msg, record.args = "no HTTP: %s", (record.exc_info[1].message.partition("\n")[0],)
        record.exc_info = None
    return True


_LOGGER: Final = logging.getLogger("testbed.http")
_LOGGER.addFilter(_without_traceback)


@dataclass(frozen=True)
class _Admitted:
    """What proves a request that has been let in; nothing, where nobody has to prove anything."""

    door: Door
    sender: str | None = None
    signature: Signature | None = None


_ADMITTED: Final = web.RequestKey("admitted", _Admitted)


class NoConnectionError(ConnectionError):
    """No connection to the server could be made."""


@dataclass(frozen=True)
class Reply:
    """The status and the body of a response."""

    status: int
    body: bytes


class HttpClient:
    """Sends requests over connections that stay open, as many at once as there are requests."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._scheme = "https" if door.tls else "http"

    async def __aenter__(self) -> Self:
        context = self._door.tls.client if self._door.tls else True
        connector = TCPConnector(limit=0, keepalive_timeout=_KEPT, ssl=context)
        self._session = ClientSession(connector=connector, timeout=_UNLIMITED)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def request(
        self, method: str, host: str, port: int, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """The reply to one request; waits for it without limit.

        Raises NoConnectionError, or ConnectionError if the connection ended before the reply was complete, or the reply
        is not the asked node's.
        """
        url = URL(f"{self._scheme}://{host}:{port}{path}")
        try:
            if self._door.messages is None:
                return (await self._exchange(method, url, body, headers or {}))[0]
            return await self._signed(method, url, body, headers or {})
        except ClientConnectorError as error:
            raise NoConnectionError("no connection") from error
        except ClientError as error:
            raise ConnectionError(str(error)) from error

    async def _signed(self, method: str, url: URL, body: bytes, headers: Mapping[str, str]) -> Reply:
        """The reply to a signed request. To a node that started after its stamp it is too old, so it is sent again."""
        signer, peer = self._door.messages, self._door.names[url.host or ""]
        assert signer is not None
        for last in (False, True):
            signature = sign_request(signer, peer, method, url.raw_path_qs, headers, body)
            signed = {**headers, HEADER: signature.header(signer.name)}
            reply, written = await self._exchange(method, url, body, signed)
            if reply.status != _UNAUTHENTICATED or last:
                break
        try:
            check_response(signer, signature, reply.status, reply.body, written)
        except UnauthenticatedError as error:
            self._door.refusals.note("requests", f"a response in the name of {peer}: {error}")
            raise ConnectionError(f"the response is not from {peer}: {error}") from error
        return reply

    async def _exchange(self, method: str, url: URL, body: bytes, headers: Mapping[str, str]) -> tuple[Reply, str]:
        """A reply, and its header X-Signature."""
        async with self._session.request(method, url, data=body or None, headers=headers) as response:
            return Reply(response.status, await response.read()), response.headers.get(HEADER, "")


def sender_of(request: web.Request) -> str | None:
    """The name of the node that has sent a request to a server here; None where nothing proves it."""
    admitted = request.get(_ADMITTED)
    return admitted.sender if admitted else None


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
        _check_body(request, bytes(body))
        return bytes(body)
    except (ClientError, HttpProcessingError, web.RequestPayloadError, OSError) as error:
        raise ConnectionError(f"the body cannot be read: {error}") from error


@asynccontextmanager
async def serving(
    application: web.Application, address: str, port: int, door: Door, shutdown: float = _SHUTDOWN
) -> AsyncIterator[None]:
    """Serve ``application`` on a TCP port of ``address`` for as long as the context lasts; raises OSError.

    Only requests that ``door`` lets in reach it. A handler is cancelled when its connection ends. At the end, running
    handlers have ``shutdown`` seconds to finish.
    """
    _guard(application, door)
    async with _running(application, shutdown) as runner:
        listening = bound(socket.SOCK_STREAM, address, port)
        await web.SockSite(runner, listening, ssl_context=door.tls.server if door.tls else None).start()
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


def _guard(application: web.Application, door: Door) -> None:
    """Let only requests of the run's nodes reach the handlers, and sign what these respond."""

    @web.middleware
    async def admitting(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[_ADMITTED] = _admitted(request, door)
        if not request.can_read_body:
            _check_body(request, b"")
        return await handler(request)

    async def sign(request: web.Request, response: web.StreamResponse) -> None:
        admitted = request.get(_ADMITTED)
        if admitted and admitted.signature and door.messages and isinstance(response, web.Response):
            body = response.body or b""
            assert isinstance(body, bytes)
            response.headers[HEADER] = sign_response(door.messages, admitted.signature, response.status, body)

    application.middlewares.append(admitting)
    application.on_response_prepare.append(sign)


def _admitted(request: web.Request, door: Door) -> _Admitted:
    """What proves a request; raises HTTPUnauthorized if it must be signed and is not, by a node of the run."""
    if door.tls is not None:
        return _Admitted(door, certified_name(request.get_extra_info))
    if door.messages is None:
        return _Admitted(door)
    try:
        signature = check_request(door.messages, request.method, request.raw_path, request.headers)
    except UnauthenticatedError as error:
        raise _refused(door, error) from None
    return _Admitted(door, signature.peer, signature)


def _check_body(request: web.Request, body: bytes) -> None:
    """Raise HTTPUnauthorized unless the body is the one that was signed, where bodies are signed."""
    admitted = request.get(_ADMITTED)
    if admitted is None or admitted.signature is None or admitted.door.messages is None:
        return
    try:
        check_body(admitted.door.messages, admitted.signature, body)
    except UnauthenticatedError as error:
        raise _refused(admitted.door, error) from None


def _refused(door: Door, error: UnauthenticatedError) -> web.HTTPException:
    door.refusals.note("requests", str(error))
    text = f"this node answers the nodes of its run alone: {error}"
    refusal = web.HTTPUnauthorized(text=text)
    refusal.force_close()  # a header of that name alone would keep the connection open
    return refusal
