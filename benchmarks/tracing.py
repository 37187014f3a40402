"""What a trace costs the node that writes it: .venv/bin/python benchmarks/tracing.py --out tracing.json RUN…

A node's queue does every job twice, with its trace and without, one right after the other in changing order; tokens a
second are those of CPU time, so that it does not matter who else computes. Of each RUN it says how many bytes of
events its nodes wrote, and what writing them took of the CPU time that they spent on a job, messages and all.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

import pyarrow.parquet

from testbed.clock import REAL_TIME
from testbed.models import zoo
from testbed.node.model import ChatModel, Sampling
from testbed.node.queue import InferenceQueue
from testbed.node.trace import Trace
from testbed.patterns.protocol import QueueOptions
from testbed.results.events import HOST
from testbed.results.sweep import Estimate
from testbed.workload.worldfacts import held_out

PARTS: Final = 20  # whose costs make the interval
MESSAGES: Final = ("receive", "send", "receive")
"""What a node of gossip Mixture-of-Agents writes in the mean, beside its queue's four events of a job."""


class Silent(Trace):
    """A trace that writes nothing."""

    def __init__(self) -> None:
        pass

    def emit(self, event: str, **fields: object) -> None:
        """Forget it."""


@dataclass
class Writer:
    """A node's queue with a trace, and how many tokens it wrote in how many seconds of CPU time."""

    model: ChatModel
    trace: Trace
    tokens: int = 0
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = InferenceQueue(self.model, self.trace, QueueOptions())
        self.serving = asyncio.create_task(self.queue.serve())

    async def write(self, prompt: str, question: str, seed: int) -> None:
        """Do one job."""
        job, origin = f"{prompt}.1@a", {"prompt": prompt, "layer": "1", "owner": "a"}
        messages, sampling = [{"role": "user", "content": question}], Sampling(0.7, 24, seed)
        begin = time.process_time()
        for event in MESSAGES:
            self.trace.emit(event, message=f"{job}/request", peer="b", bytes=200)
        completion = await self.queue.complete(job, messages, sampling, origin)
        self.seconds.append(time.process_time() - begin)
        self.tokens += completion.tokens

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / sum(self.seconds)


async def measure(jobs: int, path: Path) -> dict[str, Any]:
    """Tokens a second, and the seconds of CPU time that a job takes without a trace, and its trace takes besides."""
    model = ChatModel(zoo.path("alpha"), context=512, threads=1)
    traced, silent = Writer(model, Trace(path, "a", REAL_TIME)), Writer(model, Silent())
    for number, question in enumerate(held_out(jobs, 7)):
        for writer in (traced, silent) if number % 2 else (silent, traced):
            await writer.write(f"p{number}", question.text, number)
    # Both did a job within milliseconds, but now and then the host changed its pace between them: so medians.
    extra = [with_it - without for with_it, without in zip(traced.seconds, silent.seconds, strict=True)]
    costs = [median(part) for part in _parts(extra)]
    job = fmean(silent.seconds)
    rates = {"traced": traced.rate, "silent": silent.rate}
    return {"jobs": jobs, "tokens_per_second": rates, "seconds_of_job": job, "cost": Estimate.of(costs)}


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
    parser.add_argument("--jobs", type=int, default=2000, help="how many are done with a trace, and without")
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="a run directory")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(measure(asked.jobs, Path(directory) / "events.jsonl"))
    rates, cost = found["tokens_per_second"], found["cost"]
    print(f"tokens a second: {rates['traced']:.0f} with a trace, {rates['silent']:.0f} without")
    print(
        f"cost of a job: {cost.mean * 1e6:.0f} ± {cost.margin * 1e6:.0f} µs of {found['seconds_of_job'] * 1e3:.2f} ms"
    )
    runs = [written(run, cost) for run in asked.runs]
    for run in runs:
        largest, dearest = max(run["bytes"].values()) / 1e6, max(run["cost"].values())
        print(f"{run['prompts']} prompts: at most {largest:.2f} MB and {dearest:.2%} of the CPU time, of any node")
    asked.out.write_text(json.dumps({**found, "cost": asdict(cost), "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
