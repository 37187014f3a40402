"""The companion that forwards a node's calls: ``python -m testbed.world.nodes.endpoint.gateway CONFIG``.

It serves one path on a Unix socket, and sends what comes there to exactly one URL, at the addresses that were found at
the start of the run. It follows no redirects, uses no proxy, adds the key, keeps the budget, and bounds what passes.
The key comes from this process's environment and leaves it in one header; where the server repeats it, it is cut out.

agent ── Unix socket ──► gateway ── TLS, Authorization ──► server
      ◄─ lines, redacted ─       ◄─ one response ─────────
"""

import asyncio
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
    web,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import BaseModel, ConfigDict, ValidationError

from testbed.node.endpoint.wire import (
    DATA,
    LARGEST_REQUEST,
    LARGEST_RESPONSE,
    PATH,
    Failure,
    Part,
    RemoteRequest,
    failure,
    lines_of,
)
from testbed.node.transport.http import body_of, serving_unix
from testbed.patterns.participant import Price
from testbed.world.nodes.endpoint.budget import Account, BudgetSpentError, Charge

_CONNECT: Final = 10.0  # seconds for a connection, TLS included
_KEPT: Final = 4.0  # seconds that an idle connection is kept; common servers close it after 5
_LONGEST_MESSAGE: Final = 2000  # characters of a server's error
_LARGEST_ERROR: Final = 2**16
_KEY: Final = b"[key]"
_STATUS: Final[Mapping[Failure, int]] = {"budget": 402, "stalled": 504}


class GatewayConfig(BaseModel):
    """What one companion forwards, and where to. ``key`` names a variable of its environment.

    ``patience`` are the seconds for which the server may say nothing; ``owner`` is the user who may use the socket.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    socket: Path
    owner: int
    url: str
    addresses: tuple[str, ...]
    model: str
    key: str | None = None
    patience: float
    requests: int | None = None
    money: float | None = None
    price: Price | None = None


class _ForwardError(Exception):
    """The server's response cannot be passed on."""

    def __init__(self, kind: Failure, message: str) -> None:
        super().__init__(message)
        self.kind: Failure = kind


class _Pinned(AbstractResolver):
    """Knows the addresses that were found at the start, whatever it is asked."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The same addresses for every host."""
        del family
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """There is nothing to close."""


class Gateway:
    """Forwards requests over ``session`` within the budget of ``config``. ``key`` is sent along unless empty."""

    def __init__(self, config: GatewayConfig, session: ClientSession, key: str) -> None:
        self._config = config
        self._session = session
        self._secrets = [text.encode() for text in {key, json.dumps(key)[1:-1]} if text]
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._account = Account(config.requests, config.money, config.price)

    def application(self) -> web.Application:
        """The API: one path."""
        application = web.Application(client_max_size=LARGEST_REQUEST)
        application.router.add_post(PATH, self._forward)
        return application

    async def _forward(self, http: web.Request) -> web.StreamResponse:
        body = await body_of(http)
        try:
            request = RemoteRequest.model_validate_json(body)
        except ValidationError as error:
            return _refused("refused", 400, f"this is no request of an agent's: {error.errors()[0]['msg']}")
        if request.model != self._config.model:
            return _refused("refused", 400, f"this node has the model {self._config.model!r} alone")
        try:
            charge = self._account.reserve(len(body), request.max_tokens)
        except BudgetSpentError as error:
            return _refused("budget", 402, str(error))
        relayed: web.StreamResponse | None = None
        try:
            async with self._asking(body, charge) as upstream:
                if upstream.status != 200:
                    charge.settle(0, 0)
                    return await self._error(upstream)
                if not request.stream or upstream.content_type != "text/event-stream":
                    return await self._whole(upstream, charge)
                relayed = await self._begin(http)
                await self._relay(upstream, relayed, charge)
        except _ForwardError as error:
            if relayed is None:
                return _refused(error.kind, _STATUS.get(error.kind, 502), str(error))
            await relayed.write(b"data: " + json.dumps(failure(error.kind, str(error))).encode() + b"\n\n")
        await relayed.write_eof()
        return relayed

    @asynccontextmanager
    async def _asking(self, body: bytes, charge: Charge) -> AsyncIterator[ClientResponse]:
        """The server's response to a request; raises _ForwardError, also for what goes wrong within the context."""
        try:
            async with self._session.post(
                self._config.url + PATH, data=body, headers=self._headers, allow_redirects=False
            ) as response:
                yield response
        except ClientSSLError as error:
            charge.withdraw()
            raise _ForwardError("unreachable", f"the server's TLS cannot be trusted: {error}") from error
        except ClientConnectorError as error:
            charge.withdraw()
            raise _ForwardError("unreachable", f"no connection to the server: {error.os_error.strerror}") from error
        except ConnectionTimeoutError as error:
            charge.withdraw()
            raise _ForwardError("unreachable", f"no connection to the server within {_CONNECT:g} s") from error
        except TimeoutError as error:
            silent = f"the server said nothing for {self._config.patience:g} s"
            raise _ForwardError("stalled", silent) from error
        except (ClientError, OSError) as error:
            raise _ForwardError("broken_off", "the server ended the connection in the middle") from error

    async def _error(self, upstream: ClientResponse) -> web.Response:
        """A response other than 200, as an error in the API's form."""
        status = upstream.status
        if 300 <= status < 400:
            message = f"the server redirects (status {status}), which is not followed; name the URL that it means"
            raise _ForwardError("redirected", message)
        body = self._redacted(await _read(upstream, _LARGEST_ERROR))
        try:
            error = Part.of(body).error
            told = None if error is None else error.message
        except ValueError:
            told = body.decode(errors="replace")
        message = f"the server answers {status}: {' '.join((told or '').split())[:_LONGEST_MESSAGE]}".rstrip(": ")
        headers = {} if (seconds := _retry_after(upstream)) is None else {"Retry-After": f"{seconds:g}"}
        if status == 429 or (status == 503 and headers):
            return web.json_response({"error": {"message": message}}, status=status, headers=headers)
        return _refused("refused" if status < 500 else "failed", max(400, min(status, 599)), message)

    async def _whole(self, upstream: ClientResponse, charge: Charge) -> web.Response:
        body = self._redacted(await _read(upstream, LARGEST_RESPONSE))
        self._settle(body, charge)
        return web.Response(body=body, content_type="application/json")

    async def _begin(self, http: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(http)
        return response

    async def _relay(self, upstream: ClientResponse, relayed: web.StreamResponse, charge: Charge) -> None:
        async for line in lines_of(_bounded(upstream, LARGEST_RESPONSE)):
            line = self._redacted(line)
            if line.startswith(DATA):
                self._settle(line.removeprefix(DATA), charge)
            await relayed.write(line)

    def _settle(self, written: bytes, charge: Charge) -> None:
        """Charge what the server says that it read and wrote, where ``written`` says it."""
        if b'"usage"' not in written:
            return
        with suppress(ValueError):
            if (usage := Part.of(written).usage) is not None:
                charge.settle(usage.prompt_tokens, usage.completion_tokens)

    def _redacted(self, written: bytes) -> bytes:
        for secret in self._secrets:
            written = written.replace(secret, _KEY)
        return written


async def _bounded(upstream: ClientResponse, most: int) -> AsyncIterator[bytes]:
    """The parts of a body; raises _ForwardError where it exceeds ``most`` bytes, or is compressed."""
    if upstream.headers.get("Content-Encoding", "identity") != "identity":
        raise _ForwardError("failed", "the server compresses its response, though it was asked not to")
    size = 0
    async for chunk in upstream.content.iter_any():
        size += len(chunk)
        if size > most:
            raise _ForwardError("too_large", f"the server's response has more than {most} bytes")
        yield chunk


async def _read(upstream: ClientResponse, most: int) -> bytes:
    return b"".join([chunk async for chunk in _bounded(upstream, most)])


def _retry_after(upstream: ClientResponse) -> float | None:
    """The seconds of ``Retry-After``, which may be a date (RFC 9110, section 10.2.3); None without it."""
    written = upstream.headers.get("Retry-After", "").strip()
    if written.isdecimal():
        return float(written)
    try:
        return max(0.0, (parsedate_to_datetime(written) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # no date, or one without a zone
        return None


def _refused(kind: Failure, status: int, message: str) -> web.Response:
    return web.json_response(failure(kind, message), status=status)


def _session(config: GatewayConfig) -> ClientSession:
    """A session that knows one server: no proxy, no cookies, no decompression, no other address."""
    connector = TCPConnector(
        resolver=_Pinned(config.addresses),
        use_dns_cache=False,
        ssl=ssl.create_default_context(),  # with the certificates of this moment; aiohttp's own are those of its import
        limit=0,
        keepalive_timeout=_KEPT,
    )
    return ClientSession(
        connector=connector,
        timeout=ClientTimeout(total=None, connect=_CONNECT, sock_read=config.patience),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        headers={"User-Agent": "testbed"},
    )


async def serve(config: GatewayConfig, key: str) -> None:
    """Forward until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    own = config.socket.with_suffix(".new")
    async with _session(config) as session, serving_unix(Gateway(config, session, key).application(), own):
        own.chmod(0o600)
        os.chown(own, config.owner, config.owner)
        own.rename(config.socket)  # only now may the agent see it
        await stop.wait()


def main(written: str) -> None:
    """Forward as the configuration says."""
    config = GatewayConfig.model_validate_json(written)
    asyncio.run(serve(config, os.environ[config.key] if config.key else ""))


if __name__ == "__main__":
    main(sys.argv[1])
