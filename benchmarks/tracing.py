"""What events cost the node that writes them: .venv/bin/python benchmarks/tracing.py --out tracing.json RUN…

A node's queue does jobs, while another process follows its events over the node's API. The CPU time of writing and of
sending events is measured where it is spent: after an inference caches are cold, and an event costs several times what
it costs in a loop. For each RUN it prints the bytes of events that the nodes wrote, and the share of their CPU time
that the events took, including those of messages.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import pyarrow.parquet
from aiohttp import web

from testbed.analysis.comparison.visits import Estimate
from testbed.analysis.events import HOST
from testbed.core.clock import REAL_TIME
from testbed.models import zoo
from testbed.node.engine.model import ChatModel, Sampling
from testbed.node.engine.queue import InferenceQueue
from testbed.node.event_log import EventWriter
from testbed.node.event_stream import EventApi
from testbed.patterns.protocol import QueueOptions
from testbed.record.recording import SAMPLE_INTERVAL
from testbed.workload.prompts.worldfacts import held_out

PARTS: Final = 20  # whose costs make the interval
MESSAGES: Final = ("receive", "send", "receive")
"""What a node of gossip Mixture-of-Agents writes in the mean, beside its queue's four events of a job."""


READER: Final = """
import asyncio, sys
from pathlib import Path
from testbed.world.nodes.client import AgentClient

async def read():
    async with AgentClient(Path(sys.argv[1])) as agent:
        async for _ in agent.events(float(sys.argv[2])):
            pass

asyncio.run(read())
"""
"""Follows the events of an agent's socket, as a run does."""


class Timed(EventWriter):
    """Event file that counts the ``seconds`` of CPU time that its events have taken."""

    seconds = 0.0

    def emit(self, event: str, **fields: object) -> None:
        """Record an event."""
        begin = time.thread_time()
        super().emit(event, **fields)
        self.seconds += time.thread_time() - begin


class TimedApi(EventApi):
    """The node's API for its events, whose steps count as time of the events."""

    def __init__(self, log: Timed) -> None:
        super().__init__(log)
        self._timed = log

    async def _send(self, response: web.StreamResponse, after: int, every: float) -> None:
        await Steps(super()._send(response, after, every), self._timed)


class Steps:
    """Runs a coroutine, and adds the CPU time of each of its steps to that of ``log``."""

    def __init__(self, work: Coroutine[Any, Any, None], log: Timed) -> None:
        self._work = work.__await__()
        self._log = log

    def __await__(self) -> Generator[Any, Any, None]:
        step: Callable[[], Any] = partial(self._work.send, None)
        while True:
            begin = time.thread_time()
            try:
                waits_for = step()
            except StopIteration:
                return
            finally:
                self._log.seconds += time.thread_time() - begin
            try:
                yield waits_for
                step = partial(self._work.send, None)
            except BaseException as error:  # the task is cancelled
                step = partial(self._work.throw, error)


@asynccontextmanager
async def followed(log: Timed, every: float) -> AsyncIterator[None]:
    """Let another process follow the events over the node's API."""
    application = web.Application()
    TimedApi(log).add_to(application)
    runner = web.AppRunner(application)
    await runner.setup()
    socket = log.path.with_name("agent.sock")
    await web.UnixSite(runner, str(socket)).start()
    reader = await asyncio.create_subprocess_exec(sys.executable, "-c", READER, str(socket), str(every))
    while not log.followed:
        await asyncio.sleep(0.01)
    yield
    await runner.cleanup()
    reader.kill()
    await reader.wait()


async def measure(jobs: int, path: Path, every: float) -> dict[str, Any]:
    """The seconds of CPU time that a job takes, and how many of these its events do."""
    trace = Timed(path, "a", REAL_TIME)
    queue = InferenceQueue(ChatModel(zoo.path("alpha"), context=512, threads=1), trace, QueueOptions())
    serving = asyncio.create_task(queue.serve())
    took, costs = [], []
    async with followed(trace, every):
        for number, question in enumerate(held_out(jobs, 7)):
            begin, before = time.process_time(), trace.seconds
            await _do(queue, trace, f"p{number}", question.text, number)
            took.append(time.process_time() - begin)
            costs.append(trace.seconds - before)
    serving.cancel()
    return {"jobs": jobs, "seconds_of_job": fmean(took), "cost": Estimate.of([fmean(part) for part in _parts(costs)])}


async def _do(queue: InferenceQueue, trace: EventWriter, prompt: str, question: str, seed: int) -> None:
    job, origin = f"{prompt}.1@a", {"prompt": prompt, "layer": "1", "owner": "a"}
    for event in MESSAGES:
        trace.emit(event, message=f"{job}/request", peer="b", bytes=200)
    await queue.complete(job, [{"role": "user", "content": question}], Sampling(0.7, 24, seed), origin)


def _parts(values: Sequence[float]) -> list[Sequence[float]]:
    length = len(values) // PARTS
    return [values[first : first + length] for first in range(0, PARTS * length, length)]


def written(run: Path, cost: Estimate) -> dict[str, Any]:
    """The prompts of a run, the bytes of events that each of its nodes wrote, and what that cost of its CPU time."""
    sizes, prompts, jobs = Counter[str](), 0, Counter[str]()
    for line in (run / "events.jsonl").read_bytes().splitlines(keepends=True):
        event = json.loads(line)
        prompts += event["event"] == "prompt"
        jobs[event["node"]] += event["event"] == "end"
        sizes[event["node"]] += len(line)
    del sizes[HOST], jobs[HOST]
    samples = pyarrow.parquet.read_table(run / "samples.parquet", columns=["node", "cpu"]).to_pylist()
    spent = {node: [row["cpu"] for row in samples if row["node"] == node] for node in jobs}
    shares = {node: cost.mean * number / (spent[node][-1] - spent[node][0]) for node, number in jobs.items()}
    return {"prompts": prompts, "bytes": dict(sizes), "cost": shares}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where to store all figures as JSON")
    parser.add_argument("--jobs", type=int, default=2000, help="how many are done")
    parser.add_argument("--every", type=float, default=SAMPLE_INTERVAL, help="seconds that events may wait in the node")
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="a run directory")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(measure(asked.jobs, Path(directory) / "events.jsonl", asked.every))
    cost, job = found["cost"], found["seconds_of_job"]
    print(f"the events of a job: {cost.mean * 1e6:.0f} ± {cost.margin * 1e6:.0f} µs of {job * 1e3:.2f} ms")
    runs = [written(run, cost) for run in asked.runs]
    for run in runs:
        largest, dearest = max(run["bytes"].values()) / 1e6, max(run["cost"].values())
        print(f"{run['prompts']} prompts: at most {largest:.2f} MB and {dearest:.2%} of the CPU time, of any node")
    asked.out.write_text(json.dumps({**found, "cost": asdict(cost), "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
