"""How a node asks its neighbours, over the emulated network."""

import asyncio
from typing import Final

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout

from testbed.core import seeds
from testbed.node.calls.openai import ChatRequest, ChatResponse, ErrorResponse
from testbed.node.calls.retry import insist
from testbed.node.config import PORT, NodeConfig
from testbed.node.event_log import EventWriter
from testbed.node.membership.neighbourhood import Neighbourhood
from testbed.patterns.participant import JobError

NAME: Final = "X-Request-Id"
"""The header with the job that a request asks for: the same in all attempts, so that it is done once."""

ATTEMPT: Final = "X-Attempt"
"""The header with the number of the attempt, from 1."""

_UNLIMITED: Final = ClientTimeout(total=None)  # attempts are timed where they are repeated


class _LostError(Exception):
    """The neighbour was lost while it was asked."""


class _RefusedError(Exception):
    """The neighbour answered that it will not. To ask again would get the same answer."""


def message_name(job: str, part: str, attempt: int) -> str:
    """What a request or response is called in traces: ``JOB/request``, and ``JOB/request-2`` of a second attempt."""
    return f"{job}/{part}" if attempt == 1 else f"{job}/{part}-{attempt}"


class Asker:
    """The client of a node's neighbours."""

    def __init__(
        self, config: NodeConfig, log: EventWriter, session: ClientSession, neighbourhood: Neighbourhood
    ) -> None:
        self._config = config
        self._log = log
        self._session = session
        self._neighbourhood = neighbourhood

    async def ask(self, neighbour: str, job: str, request: ChatRequest, timeout: float) -> ChatResponse:
        """A neighbour's answer, within ``timeout`` seconds and as long as it is not lost; raises JobError."""
        asking = asyncio.create_task(self._insist(neighbour, job, request, timeout))
        leaving = asyncio.create_task(self._neighbourhood.gone(neighbour))
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise _LostError("lost")
            return asking.result()
        except (_LostError, _RefusedError, ClientError, OSError, ValueError) as error:
            reason = _reason(error, timeout)
            self._log.emit("ask_failed", message=f"{job}/request", peer=neighbour, reason=reason)
            if isinstance(error, ClientError | OSError):
                self._neighbourhood.suspect(neighbour)
            raise JobError(f"{neighbour}: {reason}") from error
        finally:
            asking.cancel()
            leaving.cancel()

    async def reach(self) -> dict[str, float | None]:
        """The seconds that a request to each neighbour takes; None for one that cannot be reached."""
        names = list(self._config.neighbours)
        return dict(zip(names, await asyncio.gather(*map(self._knock, names)), strict=True))

    async def _insist(self, neighbour: str, job: str, request: ChatRequest, timeout: float) -> ChatResponse:
        def retry(attempt: int, error: Exception) -> None:
            reason = _reason(error, timeout / self._config.retry.attempts)
            self._log.emit("retry", message=message_name(job, "request", attempt), peer=neighbour, reason=reason)

        body = request.model_dump_json(exclude_defaults=True).encode()
        draw = seeds.stream(self._config.seed, "retry", job)
        return await insist(
            lambda attempt: self._exchange(neighbour, job, body, attempt), self._config.retry, timeout, draw, retry
        )

    async def _exchange(self, neighbour: str, job: str, body: bytes, attempt: int) -> ChatResponse:
        headers = {"Content-Type": "application/json", NAME: job, ATTEMPT: str(attempt)}
        url = f"{self._url(neighbour)}/v1/chat/completions"
        self._log.emit("send", message=message_name(job, "request", attempt), peer=neighbour, bytes=len(body))
        async with self._session.post(url, data=body, headers=headers, timeout=_UNLIMITED) as response:
            content = await response.read()
            name = message_name(job, "response", attempt)
            self._log.emit("receive", message=name, peer=neighbour, bytes=len(content))
            if response.status != 200:
                raise _RefusedError(ErrorResponse.model_validate_json(content).error.message)
            return ChatResponse.model_validate_json(content)

    async def _knock(self, neighbour: str) -> float | None:
        begin = asyncio.get_running_loop().time()
        try:
            async with self._session.get(f"{self._url(neighbour)}/v1/models", timeout=ClientTimeout(5)) as response:
                await response.read()
        except (ClientError, OSError, TimeoutError):
            return None
        return asyncio.get_running_loop().time() - begin

    def _url(self, neighbour: str) -> str:
        return f"http://{self._config.neighbours[neighbour]}:{PORT}"


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g}s"
    return "no connection" if isinstance(error, ClientConnectorError) else str(error)
