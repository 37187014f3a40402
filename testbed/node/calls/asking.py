"""Requests to other nodes, over the emulated network: repeated, limited by deadlines, and cancelled when unwanted."""

import asyncio
from typing import Final, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from testbed.core import seeds
from testbed.node.calls.retry import insist
from testbed.node.config import PORT, NodeConfig
from testbed.node.event_log import EventWriter
from testbed.node.membership.neighbourhood import Neighbourhood
from testbed.node.openai.errors import ErrorResponse
from testbed.node.transport.http import HttpClient
from testbed.patterns.participant import JobError

Response = TypeVar("Response", bound=BaseModel)

NAME: Final = "X-Request-Id"
"""The header with the name of a request: the same in all attempts, so that the request is done once."""

ATTEMPT: Final = "X-Attempt"
"""The header with the number of the attempt, from 1."""

DEADLINE: Final = "X-Deadline"
"""The header with the seconds that are left for a request, for all its attempts together."""

CALLS: Final = "/v1/calls"
"""``DELETE /v1/calls/NAME`` cancels the request called NAME."""

_PATIENCE: Final = 5.0  # seconds that a node has for answering a short request, unless its links take longer
_AGAIN: Final = 0.5  # seconds until a node without a connection is asked again


class _LostError(Exception):
    """Heartbeats say that the neighbour is lost."""


class _RefusedError(Exception):
    """The neighbour answered with an error. A repeated request would get the same answer."""


def message_name(job: str, part: str, attempt: int) -> str:
    """The name of a request or response in events: ``JOB/request``, and ``JOB/request-2`` of a second attempt."""
    return f"{job}/{part}" if attempt == 1 else f"{job}/{part}-{attempt}"


class Asker:
    """Sends requests to a node's neighbours."""

    def __init__(self, config: NodeConfig, log: EventWriter, client: HttpClient, neighbourhood: Neighbourhood) -> None:
        self._config = config
        self._log = log
        self._client = client
        self._neighbourhood = neighbourhood
        self._cancelling: set[asyncio.Task[None]] = set()
        self._closed = False

    async def ask(
        self,
        neighbour: str,
        path: str,
        name: str,
        request: BaseModel,
        kind: type[Response],
        timeout: float | None,
    ) -> Response:
        """A neighbour's response, within ``timeout`` seconds and as long as the neighbour is not lost.

        Raises JobError. If the task is cancelled, the request is cancelled at the neighbour.
        """
        asking = asyncio.create_task(self._insist(neighbour, path, name, request, kind, timeout))
        leaving = asyncio.create_task(self._neighbourhood.gone(neighbour))
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise _LostError("lost")
            return asking.result()
        except asyncio.CancelledError:
            self._cancel(neighbour, name)
            raise
        except (_LostError, _RefusedError, OSError, ValueError) as error:
            reason = _reason(error, timeout)
            self._log.emit("ask_failed", message=f"{name}/request", peer=neighbour, reason=reason)
            if isinstance(error, OSError):
                self._neighbourhood.suspect(neighbour)
            raise JobError(f"{neighbour}: {reason}") from error
        finally:
            asking.cancel()
            leaving.cancel()

    async def reach(self) -> dict[str, float | None]:
        """The seconds that a request to each neighbour takes; None for one that cannot be reached."""
        names = list(self._config.neighbours)
        return dict(zip(names, await asyncio.gather(*map(self._reach, names)), strict=True))

    def close(self) -> None:
        """Give up cancellations under way; the deadlines of their requests remain. Later ones are not sent."""
        self._closed = True
        for task in self._cancelling:
            task.cancel()

    async def _insist(
        self, neighbour: str, path: str, name: str, request: BaseModel, kind: type[Response], timeout: float | None
    ) -> Response:
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        body = request.model_dump_json(exclude_defaults=True).encode()

        async def exchange(attempt: int) -> Response:
            headers = {"Content-Type": "application/json", NAME: name, ATTEMPT: str(attempt)}
            if deadline is not None:
                headers[DEADLINE] = f"{max(0.0, deadline - loop.time()):.6f}"
            return kind.model_validate_json(await self._exchange(neighbour, path, name, attempt, body, headers))

        def retry(attempt: int, error: Exception) -> None:
            share = None if timeout is None else timeout / self._config.retry.attempts
            reason = _reason(error, share)
            self._log.emit("retry", message=message_name(name, "request", attempt), peer=neighbour, reason=reason)

        draw = seeds.stream(self._config.seed, "retry", name)
        return await insist(exchange, self._config.retry, timeout, draw, retry)

    async def _exchange(
        self, neighbour: str, path: str, name: str, attempt: int, body: bytes, headers: dict[str, str]
    ) -> bytes:
        """The body of a response; raises _RefusedError, or ConnectionError."""
        self._log.emit("send", message=message_name(name, "request", attempt), peer=neighbour, bytes=len(body))
        reply = await self._client.request("POST", self._address(neighbour), PORT, path, body, headers)
        message = message_name(name, "response", attempt)
        self._log.emit("receive", message=message, peer=neighbour, bytes=len(reply.body))
        if reply.status != 200:
            raise _RefusedError(ErrorResponse.model_validate_json(reply.body).error.message)
        return reply.body

    def _cancel(self, neighbour: str, name: str) -> None:
        if self._closed:  # the node stops, and takes its prompts up again when it is back
            return
        self._log.emit("cancel", message=f"{name}/request", peer=neighbour)
        task = asyncio.create_task(self._tell_cancelled(neighbour, name))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _tell_cancelled(self, neighbour: str, name: str) -> None:
        path = f"{CALLS}/{quote(name, safe='@')}"
        try:
            async with asyncio.timeout(self._patience(neighbour)):
                await self._client.request("DELETE", self._address(neighbour), PORT, path)
        except OSError:
            return  # the deadline of the request ends it

    async def knock(self, neighbour: str, timeout: float = _PATIENCE) -> float | None:
        """The seconds that a request to a neighbour takes; None if it takes longer than ``timeout``."""
        begin = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(timeout):
                await self._client.request("GET", self._address(neighbour), PORT, "/v1/models")
        except OSError:
            return None
        return asyncio.get_running_loop().time() - begin

    async def _reach(self, neighbour: str) -> float | None:
        """The same at the beginning, when ARP has no address yet. It gives up sooner than slow links answer."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience(neighbour)
        while (left := deadline - loop.time()) > 0:
            if (taken := await self.knock(neighbour, left)) is not None:
                return taken
            await asyncio.sleep(_AGAIN)
        return None

    def _patience(self, neighbour: str) -> float:
        return self._config.patience.get(neighbour, _PATIENCE)

    def _address(self, neighbour: str) -> str:
        return self._config.neighbours[neighbour]


def _reason(error: Exception, timeout: float | None) -> str:
    if isinstance(error, TimeoutError) and timeout is not None:
        return f"no answer within {timeout:g}s"
    return str(error)
