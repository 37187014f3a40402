"""``python -m testbed.node [SHARED [MODEL]]``: run an agent until it is told to stop."""

import asyncio
import signal
import sys
import time
from pathlib import Path

from aiohttp import ClientSession, TCPConnector, web

from testbed.node import config as places
from testbed.node.agent import Agent
from testbed.node.api import NodeApi
from testbed.node.config import NodeConfig
from testbed.node.model import ChatModel, Sampling
from testbed.node.queue import InferenceQueue
from testbed.node.trace import Trace


def load(config: NodeConfig, path: Path) -> ChatModel:
    """The model in memory, with one inference behind it, so that the first prompt meets no cold start."""
    model = ChatModel(path, config.context, config.threads)
    model.complete([{"role": "user", "content": "Hello"}], Sampling(0.0, 4, seed=0), lambda: None)
    return model


async def run(shared: Path, model_path: Path) -> None:
    """Serve both APIs until SIGTERM."""
    config = NodeConfig.model_validate_json((shared / places.CONFIG).read_text())
    trace = Trace(shared / places.EVENTS, config.name)
    begin = time.monotonic()
    queue = InferenceQueue(load(config, model_path), trace)
    # One prompt may ask a neighbour while others do: no limit on connections, and none is closed for being idle.
    async with (
        ClientSession(connector=TCPConnector(limit=0, keepalive_timeout=3600)) as session,
        asyncio.TaskGroup() as tasks,
    ):
        serving = tasks.create_task(queue.serve())
        api = NodeApi(Agent(config, queue, trace, session), trace)
        network, host = (
            web.AppRunner(api.for_network(), access_log=None),
            web.AppRunner(api.for_host(), access_log=None),
        )
        await network.setup()
        await web.TCPSite(network, port=places.PORT).start()
        await host.setup()
        await web.UnixSite(host, str(shared / places.SOCKET)).start()
        trace.emit("ready", load_seconds=time.monotonic() - begin)
        await _told_to_stop()
        await host.cleanup()
        await network.cleanup()
        serving.cancel()


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def main(shared: str = str(places.SHARED), model: str = str(places.MODEL)) -> None:
    """Run an agent on the given directory and model."""
    asyncio.run(run(Path(shared), Path(model)))


if __name__ == "__main__":
    main(*sys.argv[1:])
