"""Measures how exactly caps of CPU are kept: sudo .venv/bin/python benchmarks/caps.py --out caps.json

A node computes without pauses: hashes, a model of real size that needs about 10 ms of a core for a token, or a tiny
model. Its cap is 0.1 to 0.9 cores, kept by the testbed, by the kernel alone, or with Docker's default period. The node
has a full core between caps, because the speed of a host varies. Measured are:

- the CPU time as a share of the cap,
- the tokens per second as a share of the cap times those with a full core,
- the least and the most work in any 100 ms as a share of the mean,
- the longest hole: the longest time between two tokens, less the time of a token on a full core,
- the time of the work that a full core does in 14 ms.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import psutil
from docker.models.containers import Container
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from startup import Unlinked

from testbed.host.cfs import CFS_PERIOD
from testbed.node import config as places
from testbed.schema.scenario import Scenario
from testbed.world.journal import Journal
from testbed.world.nodes.cgroups import Cgroup
from testbed.world.nodes.container import ContainerNode
from testbed.world.nodes.containers import container_name
from testbed.world.plan import prepare

CAPS: Final = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
WORK: Final = "work"
WRITERS: Final = (WORK, "synthetic:microllama-300m-q4_0", "zoo/alpha")

NODE: Final = "a"
WINDOW: Final = 0.1  # seconds
TOKEN: Final = 0.014  # seconds of a core
FEWEST: Final = 5  # tokens in a window that evenness can be measured with
ROUNDS: Final = 6
FULL_SECONDS: Final = 0.4
SETTLED: Final = 0.2  # seconds after a change of the cap

Times = NDArray[np.float64]
"""The times at which tokens were sampled, in seconds."""


@dataclass(frozen=True)
class Keeper:
    """What keeps a cap: the CFS period in seconds, and whether the metronome runs."""

    name: str
    period: float
    metronome: bool


KEEPERS: Final = (
    Keeper("testbed", CFS_PERIOD, metronome=True),
    Keeper("kernel alone", CFS_PERIOD, metronome=False),
    Keeper("Docker's period", 0.1, metronome=False),
)


@dataclass(frozen=True)
class Measurement:
    """A measurement of a node from ``begin`` to ``end``: the times of its tokens, until slightly after the end, and the
    seconds of a core that it used."""

    times: Times
    begin: float
    end: float
    cpu: float

    @property
    def rate(self) -> float:
        """Tokens a second."""
        done = self.progress(np.array([self.begin, self.end]))
        return float(done[1] - done[0]) / (self.end - self.begin)

    def progress(self, t: Times) -> Times:
        """The tokens written until each time in ``t``, interpolated."""
        done: Times = np.interp(t, self.times, np.arange(len(self.times)))
        return done

    def shares(self) -> Times:
        """The work in windows of 100 ms, as shares of the mean."""
        starts = np.linspace(self.begin, self.end - WINDOW, 4 * len(self.times))
        return (self.progress(starts + WINDOW) - self.progress(starts)) / (self.rate * WINDOW)

    def took(self, tokens: float) -> Times:
        """Seconds of ``tokens`` consecutive tokens, from many starting points."""
        begins = np.arange(0, len(self.times) - 1 - tokens, tokens / 3)
        numbers = np.arange(len(self.times))
        took: Times = np.interp(begins + tokens, numbers, self.times) - np.interp(begins, numbers, self.times)
        return took


@dataclass(frozen=True)
class Result:
    """The measurements of one writer with one cap, in seconds and shares.

    ``cpu`` is the CPU time as a share of the cap. ``speed`` is the rate of tokens as a share of the cap times ``full``,
    the rate with a full core at that time. ``least`` and ``most`` are the work in any 100 ms as a share of the mean;
    they and the longest hole are None if tokens are too sparse.
    """

    writer: str
    cap: float
    keeper: str
    full: float
    cpu: float
    speed: float
    least: float | None
    most: float | None
    longest_hole: float | None
    token_p50: float
    token_p99: float

    @classmethod
    def of(cls, writer: str, cap: float, keeper: str, rounds: Sequence[tuple[Measurement, float]]) -> "Result":
        """From measurements, each with the tokens per second on a full core around it."""
        watches = [watch for watch, _ in rounds]
        cpu = sum(watch.cpu for watch in watches) / sum(watch.end - watch.begin for watch in watches)
        full = median(full for _, full in rounds)
        speed = median(watch.rate / full for watch, full in rounds)
        p50, p99 = np.percentile(np.concatenate([watch.took(full * TOKEN) for watch, full in rounds]), [50, 99])
        least = most = hole = None
        if cap * full * WINDOW > FEWEST:
            shares = np.concatenate([watch.shares() for watch in watches])
            least, most = float(shares.min()), float(shares.max())
            hole = float(max(np.diff(watch.times).max() for watch in watches)) - 1 / full
        return cls(writer, cap, keeper, full, cpu / cap, speed / cap, least, most, hole, float(p50), float(p99))


class Bench:
    """A node that computes without pauses and writes the times of its tokens to the file ``times``."""

    def __init__(self, node: ContainerNode, metronome: psutil.Process | None, times: Path) -> None:
        self._node = node
        self._metronome = metronome
        self._times = times

    def full(self) -> float:
        """Tokens per second with a full core."""
        Cgroup(self._node.pid).uncap_cpu()
        return self._watch(FULL_SECONDS).rate

    def capped(self, cap: float, keeper: Keeper, seconds: float) -> Measurement:
        """A measurement with a cap."""
        self._node.cap_cpu(cap, keeper.period)
        with nullcontext() if keeper.metronome or self._metronome is None else _suspended(self._metronome):
            return self._watch(seconds)

    def _watch(self, seconds: float) -> Measurement:
        before = self._written()
        time.sleep(SETTLED)
        begin, used = time.monotonic(), self._cpu()
        time.sleep(seconds)
        end, used = time.monotonic(), self._cpu() - used
        while not len(times := self._since(before)) or times[-1] < end:
            time.sleep(0.01)
        return Measurement(times, begin, end, used)

    def _cpu(self) -> float:
        return Cgroup(self._node.pid).read().cpu

    def _written(self) -> int:
        return self._times.stat().st_size // 8 * 8

    def _since(self, offset: int) -> Times:
        size = self._written() - offset
        with self._times.open("rb") as file:
            file.seek(offset)
            return np.frombuffer(file.read(size), dtype=np.float64)


@contextmanager
def _suspended(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@contextmanager
def computing_node(writer: str) -> Iterator[Bench]:
    """A node of a run with the writer in it; its agent is idle."""
    scenario = Scenario.model_validate(
        {
            "name": "caps",
            "topology": {"name": "one", "nodes": {NODE: {"model": _model(writer), "cpus": 1.0, "memory": "2GiB"}}},
            "pattern": {"kind": "gossip-moa", "layers": 0, "proposers": 0},
            "workload": {"prompts": "worldfacts", "arrivals": {"rate": "1/s"}, "count": 1},
        }
    )
    plan = prepare(scenario, None, lambda _: None)
    journal = Journal.begin()
    try:
        world = Unlinked(plan, journal, lambda _: nullcontext())
        world.wait_until_ready()
        container = plan.docker.containers.get(container_name(journal.run, NODE))
        beating = [int(one.name.partition("@")[0]) for one in journal.records() if one.kind == "process"]
        metronome = psutil.Process(beating[0]) if beating else None
        node = world.nodes[NODE]
        assert isinstance(node, ContainerNode)
        yield Bench(node, metronome, _start(container, writer, node.shared))
        world.close()
    finally:
        journal.undo()
        journal.close()


def _model(writer: str) -> str:
    return "zoo/alpha" if writer == WORK else writer


def _start(container: Container, writer: str, shared: Path) -> Path:
    """Start the writer, wait for its first token, and return the file of times."""
    program = Path(__file__).with_name("caps_writer.py").read_text()
    what = WORK if writer == WORK else str(places.MODEL)
    container.exec_run(["python3", "-c", program, what, str(places.SHARED / "times")], detach=True)
    times = shared / "times"
    while not (times.exists() and times.stat().st_size):
        time.sleep(0.1)
    return times


def measure(writer: str, seconds: float) -> Iterator[Result]:
    """A result for each cap and keeper, measured alternately with a full core."""
    with computing_node(writer) as bench:
        full = bench.full()
        for cap, keeper in product(CAPS, KEEPERS):
            rounds = []
            for _ in range(ROUNDS):
                watch = bench.capped(cap, keeper, seconds)
                before, full = full, bench.full()
                rounds.append((watch, (before + full) / 2))
            yield Result.of(writer, cap, keeper.name, rounds)


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to store all figures as JSON")
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of each of the six measurements of a cap")
    parser.add_argument("--writers", nargs="+", default=WRITERS, help="models, or work")
    chosen = parser.parse_args()
    results = [result for writer in chosen.writers for result in measure(writer, chosen.seconds)]
    Console(width=120).print(_table(results))
    if chosen.out:
        chosen.out.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def _table(results: Sequence[Result]) -> Table:
    table = Table("writer", "cap", "kept by", "CPU", "speed", "least in 100 ms", "most", "hole", "14 ms: p50", "p99")
    for one in results:
        shares = (one.cpu, one.speed, one.least, one.most)
        table.add_row(
            one.writer.removeprefix("synthetic:"),
            f"{one.cap:g}",
            one.keeper,
            *("–" if share is None else f"{share:.1%}" for share in shares),
            *("–" if t is None else f"{t * 1e3:.0f} ms" for t in (one.longest_hole, one.token_p50, one.token_p99)),
        )
    return table


if __name__ == "__main__":
    main()
