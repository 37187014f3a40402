"""``python -m testbed.node [SHARED [MODEL]]``: run an agent until it is told to stop."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from testbed.core.errors import TestbedError
from testbed.node import config as places
from testbed.node.agent import Agent
from testbed.node.api import NodeApi
from testbed.node.batching import SlotQueue
from testbed.node.character.conduct import honest
from testbed.node.character.flooding import Flooder
from testbed.node.character.swapping import SwappedModel
from testbed.node.character.traits import AnyTrait, CharacterFile
from testbed.node.config import EndpointOptions, NodeConfig, PeerFacts
from testbed.node.endpoint.queue import EndpointQueue
from testbed.node.endpoint.server import Server
from testbed.node.engine.inference import Inference
from testbed.node.engine.model import ChatModel, Sampling
from testbed.node.engine.queue import InferenceQueue
from testbed.node.engine.slowness import SlowedModel, Slowness
from testbed.node.event_log import EventWriter
from testbed.node.journal import recall
from testbed.node.membership.heartbeats import Heartbeats
from testbed.node.membership.neighbourhood import Everyone, Neighbourhood
from testbed.node.ring.joining import join
from testbed.node.transport.door import Door
from testbed.node.transport.http import HttpClient, UnixClient, serving, serving_unix
from testbed.node.transport.refusals import Traffic
from testbed.patterns.participant import JobError
from testbed.patterns.pipeline import Pipeline

Traits = Callable[[], Sequence[AnyTrait]]


@asynccontextmanager
async def inference_of(
    config: NodeConfig, shared: Path, model: Path, log: EventWriter, door: Door, traits: Traits
) -> AsyncIterator[Inference]:
    """What completes chats in this node: the model or the stage in the file ``model``, loaded, or a foreign server.

    Raises JobError if the server does not answer.
    """
    slowness = Slowness(shared / places.SLOWNESS)
    match config:
        case NodeConfig(endpoint=EndpointOptions() as options):
            async with UnixClient(places.ENDPOINT) as client:
                queue = EndpointQueue(Server(client, options, log, config.clock, slowness), config, options, log)
                await queue.rehearse()
                yield queue
        case NodeConfig(pattern=Pipeline(ring=ring) as pattern) if config.name in ring:
            yield join(config, pattern, model, slowness, log, door)
        case _:
            own = config.peers.get(config.name, PeerFacts())
            loaded = load(config, model, own.fingerprint)
            if config.slots > 1:
                yield SlotQueue(loaded, slowness, log, config.queue)
            else:
                further = config.further_models.items()
                others = {name: load(config, other.path, other.fingerprint) for name, other in further}
                swapped = SwappedModel(loaded, others, traits)
                yield InferenceQueue(SlowedModel(swapped, slowness), log, config.queue)


def load(config: NodeConfig, path: Path, fingerprint: str) -> ChatModel:
    """The loaded model, after one inference: the first prompt meets no cold start."""
    model = ChatModel(
        path,
        config.context,
        config.threads,
        config.chat,
        slots=config.slots,
        prefix_cache=config.prefix_cache,
        fingerprint=fingerprint,
    )
    model.complete([{"role": "user", "content": "Hello"}], Sampling(0.0, 4, seed=0), lambda _: None)
    return model


async def run(config: NodeConfig, shared: Path, model_path: Path) -> None:
    """Serve both APIs until SIGTERM."""
    past = recall(shared / places.EVENTS)
    log = EventWriter(shared / places.EVENTS, config.name, config.clock)
    door = Door.of(config.credentials, partial(_tell, log))
    traits = CharacterFile(shared / places.CHARACTER).traits if config.misbehaves else honest
    begin = config.clock.now()
    async with (
        inference_of(config, shared, model_path, log, door, traits) as inference,
        HttpClient(door) as client,
        HttpClient(replace(door, messages=None)) as unsigned,
        neighbourhood_of(config, log, door) as neighbourhood,
        asyncio.TaskGroup() as tasks,
    ):
        beside = [tasks.create_task(inference.serve())]
        if config.misbehaves:  # no other node has to wake up to see whether it floods
            beside.append(tasks.create_task(Flooder(config, client, unsigned, log, traits).serve()))
        agent = Agent(config, inference, log, client, neighbourhood, past, traits)
        api = NodeApi(agent, log)
        log.emit("ready", load_seconds=config.clock.now() - begin)
        if past.began:  # otherwise the host says when the network stands
            neighbourhood.begin()
        agent.resume(past.unfinished)
        async with (
            serving(api.for_network(), config.address, places.PORT, door),
            serving_unix(api.for_host(), shared / places.SOCKET),
        ):
            await _told_to_stop()
            agent.stop()
        for task in beside:
            task.cancel()
    door.refusals.close()


@asynccontextmanager
async def neighbourhood_of(config: NodeConfig, log: EventWriter, door: Door) -> AsyncIterator[Neighbourhood]:
    """The neighbours as heartbeats show them, or without heartbeats all of them."""
    if config.membership is None:
        yield Everyone(config.neighbours)
        return
    heartbeats = Heartbeats(config, config.membership, log, door)
    await heartbeats.listen()
    try:
        yield heartbeats
    finally:
        heartbeats.close()


def _tell(log: EventWriter, traffic: Traffic, reason: str, count: int) -> None:
    log.emit("unauthenticated", traffic=traffic, reason=reason, count=count)


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def main(shared: str = str(places.SHARED), model: str = str(places.model_file())) -> None:
    """Run an agent on the given directory and model."""
    try:
        config = NodeConfig.model_validate_json((Path(shared) / places.CONFIG).read_text())
        config.clock.run(run(config, Path(shared), Path(model)))
    except (TestbedError, JobError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
