"""Whole nodes in this process, each at a loopback address of its own; only the models are fake."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import loopback

from testbed.node.agent import Agent
from testbed.node.api import NodeApi
from testbed.node.calls import asking
from testbed.node.character.conduct import honest
from testbed.node.character.traits import AnyTrait
from testbed.node.config import NodeConfig
from testbed.node.engine.queue import InferenceQueue
from testbed.node.journal import Past
from testbed.node.membership.neighbourhood import Everyone
from testbed.node.transport.door import Door
from testbed.node.transport.http import HttpClient, serving, serving_unix

ADDRESSES = {"a": loopback.address(1), "b": loopback.address(2)}
NOTHING = Past()


def configured(
    name: str, neighbours: dict[str, str], layers: int = 1, timeout: str = "10s", limit: int = 16
) -> NodeConfig:
    pattern = {"kind": "gossip-moa", "layers": layers, "proposers": len(neighbours), "timeout": timeout}
    return NodeConfig.model_validate(
        {
            "name": name,
            "address": ADDRESSES[name],
            "neighbours": neighbours,
            "pattern_classes": {"gossip-moa": "testbed.patterns.gossip_moa:GossipMoa"},
            "pattern": pattern,
            "queue": {"limit": limit},
            "retry": {"attempts": 2, "backoff": "1ms"},
            "membership": None,
            "model": f"zoo/{name}",
            "context": 512,
            "threads": 1,
            "temperature": 0.25,
            "max_tokens": 24,
            "seed": 7,
        }
    )


@asynccontextmanager
async def node(
    config: NodeConfig,
    model: Any,
    trace: Any,
    directory: Path,
    address: str,
    past: Past = NOTHING,
    patience: float = 30,
    traits: Callable[[], Sequence[AnyTrait]] = honest,
    door: Door | None = None,
) -> AsyncIterator[tuple[Path, Agent]]:
    """A whole node but for its model; yields the path of its Unix socket, and its agent."""
    queue = InferenceQueue(model, trace, config.queue)
    path = directory / f"{config.name}.sock"
    door = door or Door()
    async with HttpClient(door) as client, asyncio.timeout(patience):
        agent = Agent(config, queue, trace, client, Everyone(config.neighbours), past, traits)
        api = NodeApi(agent, trace)
        agent.resume(past.unfinished)
        working = asyncio.create_task(queue.serve())
        async with (
            serving(api.for_network(), address, asking.PORT, door, shutdown=0.01),
            serving_unix(api.for_host(), path, shutdown=0.01),
        ):
            try:
                yield path, agent
            finally:
                agent.stop()
        working.cancel()
