"""The path of a call from an agent's queue to a foreign server: queue, companion and server, without containers."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes import configured

from testbed.core.clock import REAL_TIME, Clock
from testbed.node.config import EndpointOptions
from testbed.node.endpoint.queue import EndpointQueue
from testbed.node.endpoint.server import Server
from testbed.node.engine.model import Sampling
from testbed.node.engine.slowness import Slowness
from testbed.node.event_log import EventWriter
from testbed.node.transport.http import UnixClient
from testbed.world.nodes.endpoint.gateway import GatewayConfig, serve

SAMPLING = Sampling(temperature=0.5, max_tokens=8, seed=1)


@dataclass
class Route:
    """An agent's queue, and the socket of the companion that it asks."""

    queue: EndpointQueue
    socket: Path
    events: Callable[..., list[dict[str, Any]]]

    async def ask(self, text: str = "Hello?", job: str = "p1.1@a", **how: Any) -> Any:
        sampling = how.pop("sampling", SAMPLING)
        return await self.queue.complete(job, [{"role": "user", "content": text}], sampling, {}, **how)


@asynccontextmanager
async def route(
    url: str,
    directory: Path,
    key: str = "",
    patience: float = 30.0,
    model: str = "theirs",
    clock: Clock = REAL_TIME,
    slots: int = 1,
    logprobs: bool = False,
    rehearse: bool = False,
    **limits: Any,
) -> AsyncIterator[Route]:
    """The route to the server at ``url`` on this host."""
    log, socket = directory / "events.jsonl", directory / "endpoint.sock"
    trace = EventWriter(log, "a", clock)
    config = configured("a", {}).model_copy(update={"model": model, "slots": slots})
    options = EndpointOptions(patience=patience, logprobs=logprobs)

    def events(*kinds: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in log.read_text().splitlines()]
        return [event for event in found if not kinds or event["event"] in kinds]

    forwarding = GatewayConfig(
        socket=socket,
        owner=os.getuid(),
        url=url,
        addresses=("127.0.0.1",),
        model=model,
        patience=patience,
        **limits,
    )
    companion = asyncio.create_task(serve(forwarding, key))
    while not socket.exists():
        await asyncio.sleep(0.001)
    async with UnixClient(socket) as client:
        queue = EndpointQueue(
            Server(client, options, trace, clock, Slowness(directory / "slowness")), config, options, trace
        )
        if rehearse:
            await queue.rehearse()
        serving = asyncio.create_task(queue.serve())
        yield Route(queue, socket, events)
        assert not serving.done(), "the queue must outlive whatever comes from a server"
        await ended(serving)
    await ended(companion)


async def ended(task: asyncio.Task[Any]) -> None:
    """End a task."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
