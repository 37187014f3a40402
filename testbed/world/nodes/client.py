"""The host's side of an agent's API (:mod:`testbed.node.api`)."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, UnixConnector

from testbed.patterns.participant import JobError, Prompt, Record
from testbed.world.nodes.feed import EventFeed
from testbed.world.nodes.handle import ClockOffset, Event, Exit, NodeGoneError, WorldError, last_words

PATIENCE: Final = 10.0
"""Seconds without an answer after which an agent is asked whether it lives, and within which it must say so."""

AWAY: Final = 10.0
"""Seconds that an agent may be away, as it is while its node restarts."""

_AGAIN: Final = 0.1  # seconds between two attempts to connect


class StartedNode(Protocol):
    """The node of an agent that is about to serve."""

    name: str

    def exit(self) -> Exit | None:
        """How it ended; None while it runs, or while that is not known."""

    def logs(self) -> bytes:
        """All that it printed."""


class AgentClient:
    """A session with the agent behind the Unix socket ``socket``, which may be away for up to ``away`` seconds.

    Control never touches the emulated network: the socket lies in a directory that host and node share.
    """

    def __init__(self, socket: Path, feed: EventFeed | None = None, away: float = AWAY) -> None:
        self._socket = socket
        self._away = away
        self._feed = feed or EventFeed(ClockOffset())
        self._session = ClientSession(
            "http://agent", connector=UnixConnector(str(socket), limit=0), timeout=ClientTimeout(total=None)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def serves(self) -> bool:
        """Whether the agent answers now."""
        try:
            await self._knock()
        except (ClientError, OSError):
            return False
        return True

    async def see_it_start(self, node: StartedNode, glance: float) -> None:
        """Look every ``glance`` seconds whether the agent of ``node`` serves; raises WorldError if it ends before."""
        while not (self._socket.exists() and await self.serves()):
            if (end := node.exit()) is not None:
                raise WorldError(f"node {node.name!r} did not start: {end}\n{last_words(node.logs())}")
            await asyncio.sleep(glance)

    async def answer(self, prompt: Prompt) -> str:
        """Hand over a prompt and wait for the answer; raises JobError if there is none, or NodeGoneError.

        An agent that was away is asked again; it takes a prompt of the same id for the same.
        """
        body: dict[str, Any] = {"id": prompt.id, "text": prompt.text, "label": prompt.label}
        body |= {"before": prompt.before, "privacy": prompt.privacy, "allowed": prompt.allowed, "tokens": prompt.tokens}
        status, content = await self._awaited("POST", "/prompts", self._away, body)
        if status != 200:
            raise JobError(content)
        return str(json.loads(content)["text"])

    async def feedback(self, prompt: str, reward: float) -> None:
        """Tell how right the answer to a prompt was, from 0 to 1; raises NodeGoneError."""
        await self._awaited("POST", "/feedback", self._away, {"prompt": prompt, "reward": reward})

    async def reach(self) -> dict[str, float | None]:
        """Seconds that a request to each neighbour takes, None for one that cannot be reached; raises NodeGoneError.

        A node that answers takes as long as it needs: to tune a ring may take minutes.
        """
        status, content = await self._awaited("GET", "/neighbours", away=0.0)
        if status != 200:
            raise NodeGoneError(content)
        reached: dict[str, float | None] = json.loads(content)
        return reached

    async def note(self, records: Mapping[str, Record]) -> None:
        """Tell it how the checked answers of nodes came out so far; raises NodeGoneError."""
        body = {"records": {name: asdict(record) for name, record in records.items()}}
        await self._awaited("PUT", "/records", self._away, body)

    async def events(self, every: float) -> AsyncGenerator[Sequence[Event], None]:
        """The events from where the last session stopped, as they come; never ends."""
        while True:
            asked: dict[str, str] = {"after": str(self._feed.resume()), "every": str(every)}
            try:
                async with self._session.get("/events/stream", params=asked, raise_for_status=True) as response:
                    async for chunk in response.content.iter_any():
                        if events := self._feed.take(chunk):
                            yield events
            except (ClientError, OSError):
                pass  # the node has ended, and may be started again
            await asyncio.sleep(_AGAIN)

    async def last_events(self) -> Sequence[Event]:
        """All events that are left; raises NodeGoneError."""
        asked, patience = {"after": str(self._feed.resume())}, ClientTimeout(PATIENCE)
        try:
            async with self._session.get("/events", params=asked, timeout=patience, raise_for_status=True) as response:
                return self._feed.take(await response.read())
        except (ClientError, OSError, TimeoutError) as error:
            raise NodeGoneError(str(error)) from error

    async def _awaited(self, method: str, path: str, away: float, body: Any = None) -> tuple[int, str]:
        """Status and content of a response that may take long; raises NodeGoneError once the agent does not answer.

        Without a connection for ``away`` seconds, it does not.
        """
        asking = asyncio.ensure_future(self._insist(method, path, away, body))
        try:
            while not (await asyncio.wait({asking}, timeout=PATIENCE))[0]:
                await self._see_that_it_lives()
        finally:
            asking.cancel()
        return asking.result()

    async def _insist(self, method: str, path: str, away: float, body: Any) -> tuple[int, str]:
        now = asyncio.get_running_loop().time
        seen = now()
        while True:
            try:
                async with self._session.request(method, path, json=body) as response:
                    return response.status, await response.text()
            except ClientConnectorError as error:
                if now() > seen + away:
                    raise NodeGoneError(str(error)) from error
            except (ClientError, OSError):
                seen = now()  # until now it was there
            await asyncio.sleep(_AGAIN)

    async def _see_that_it_lives(self) -> None:
        """Raises NodeGoneError if the agent hangs: its sockets stay open, and would keep a caller waiting for ever."""
        try:
            await self._knock()
        except TimeoutError as error:
            raise NodeGoneError(f"no answer within {PATIENCE:g}s") from error
        except (ClientError, OSError):
            return  # it is away, which the request itself notices

    async def _knock(self) -> None:
        async with self._session.get("/v1/models", timeout=ClientTimeout(PATIENCE)) as response:
            await response.read()
