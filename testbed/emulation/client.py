"""The host's side of an agent's API, on the Unix socket that both see: control never touches the emulated network."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

from testbed.patterns.participant import JobError


class AgentGoneError(Exception):
    """The agent does not answer any more."""


class AgentClient:
    """Speaks with one agent."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
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
        """Hand over a prompt and wait for the answer; raises JobError if there is none, or AgentGoneError."""
        try:
            async with self._session.post("/prompts", json={"id": prompt, "text": text}) as response:
                content = await response.text()
        except (ClientError, OSError) as error:
            raise AgentGoneError(str(error)) from error
        if response.status != 200:
            raise JobError(content)
        return str(json.loads(content)["text"])

    async def neighbours(self) -> dict[str, float | None]:
        """Seconds that a request to each neighbour takes; None for one that cannot be reached."""
        try:
            async with self._session.get("/neighbours") as response:
                reached: dict[str, Any] = await response.json()
        except (ClientError, OSError) as error:
            raise AgentGoneError(str(error)) from error
        return reached
