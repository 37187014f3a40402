"""The host's side of an agent's API, on the Unix socket that both see: control never touches the emulated network."""

import asyncio
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, UnixConnector

from testbed.patterns.participant import JobError

PATIENCE: Final = 10.0
"""Seconds without an answer after which an agent is asked whether it lives, and that it has to say so."""


AWAY: Final = 10.0
"""Seconds that an agent may be away, as it is while its node is started again."""

_AGAIN: Final = 0.1  # seconds between two looks at whether it is back


class AgentGoneError(Exception):
    """The agent does not answer any more."""


class AgentClient:
    """Speaks with one agent, which may be away for up to ``away`` seconds."""

    def __init__(self, socket: Path, away: float = AWAY) -> None:
        self._away = away
        self._session = ClientSession(
            "http://agent", connector=UnixConnector(str(socket), limit=0), timeout=ClientTimeout(total=None)
        )

    async def __aenter__(self) -> "AgentClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def prompt(self, prompt: str, text: str) -> str:
        """Hand over a prompt and wait for the answer; raises JobError if there is none, or AgentGoneError.

        An agent that was away is asked again; it takes a prompt of the same id for the same.
        """
        asking = asyncio.ensure_future(self._insist({"id": prompt, "text": text}))
        try:
            while not (await asyncio.wait({asking}, timeout=PATIENCE))[0]:
                await self._knock()
        finally:
            asking.cancel()
        status, content = asking.result()
        if status != 200:
            raise JobError(content)
        return str(json.loads(content)["text"])

    async def _insist(self, prompt: dict[str, str]) -> tuple[int, str]:
        now = asyncio.get_running_loop().time
        seen = now()
        while True:
            try:
                return await self._post(prompt)
            except ClientConnectorError as error:
                if now() > seen + self._away:
                    raise AgentGoneError(str(error)) from error
            except (ClientError, OSError):
                seen = now()  # until now it was there
            await asyncio.sleep(_AGAIN)

    async def _post(self, prompt: dict[str, str]) -> tuple[int, str]:
        async with self._session.post("/prompts", json=prompt) as response:
            return response.status, await response.text()

    async def _knock(self) -> None:
        """See that the agent does not hang: its sockets would stay open, and keep a prompt waiting for ever."""
        try:
            async with self._session.get("/v1/models", timeout=ClientTimeout(PATIENCE)) as response:
                await response.read()
        except TimeoutError as error:
            raise AgentGoneError(f"no answer within {PATIENCE:g}s") from error
        except (ClientError, OSError):
            return  # it is away, which the prompt itself sees

    async def neighbours(self) -> dict[str, float | None]:
        """Seconds that a request to each neighbour takes; None for one that cannot be reached."""
        try:
            async with self._session.get("/neighbours", timeout=ClientTimeout(PATIENCE)) as response:
                reached: dict[str, Any] = await response.json()
        except (ClientError, OSError, TimeoutError) as error:
            raise AgentGoneError(str(error)) from error
        return reached
