"""How exact caps of CPU are: sudo .venv/bin/python benchmarks/caps.py --out caps.json

A node computes without a pause: bare work, a model of real size whose token takes a core about 10 ms, and a tiny one.
Its cap is 0.1 to 0.9 of a core, kept as the testbed does, by the kernel alone, and as Docker does by default. In
between it has a core of its own, since no host is as fast all the time. What is measured:

- the CPU time that it gets, beside its cap,
- its tokens a second, beside the cap times those of a core of its own,
- the least and the most that it does in any 100 ms, beside the mean,
- the longest hole: the longest time between two tokens, less what one takes a core,
- how long it takes for what a core does in 14 ms.
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
FEWEST: Final = 5  # tokens in a window, to tell how even it is
ROUNDS: Final = 6
FULL_SECONDS: Final = 0.4
SETTLED: Final = 0.2  # seconds after a change of the cap

Times = NDArray[np.float64]
"""When tokens were drawn, in seconds."""


@dataclass(frozen=True)
class Keeper:
    """Who keeps a cap: in periods of so many seconds, with the metronome or without."""

    name: str
    period: float
    metronome: bool


KEEPERS: Final = (
    Keeper("testbed", CFS_PERIOD, metronome=True),
    Keeper("kernel alone", CFS_PERIOD, metronome=False),
    Keeper("Docker's period", 0.1, metronome=False),
)


@dataclass(frozen=True)
class Watch:
    """A node that was watched from ``begin`` to ``end``, with the times of its tokens until a little later, and the
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
        """How many tokens had been written at some times, in fractions of tokens."""
        done: Times = np.interp(t, self.times, np.arange(len(self.times)))
        return done

    def shares(self) -> Times:
        """What it did in all times of a tenth of a second, beside the mean."""
        starts = np.linspace(self.begin, self.end - WINDOW, 4 * len(self.times))
        return (self.progress(starts + WINDOW) - self.progress(starts)) / (self.rate * WINDOW)

    def took(self, tokens: float) -> Times:
        """How long it took for so many tokens, from several of them on."""
        begins = np.arange(0, len(self.times) - 1 - tokens, tokens / 3)
        numbers = np.arange(len(self.times))
        took: Times = np.interp(begins + tokens, numbers, self.times) - np.interp(begins, numbers, self.times)
        return took


@dataclass(frozen=True)
class Result:
    """What a node with a cap was seen to do, in seconds and in shares.

    ``cpu`` is the CPU time that it got, beside its cap; ``speed`` are its tokens a second, beside the cap times those
    of a core of its own just then, ``full``. ``least`` and ``most`` are of what it did in any 100 ms, beside the mean;
    they and the longest hole are None where tokens are too far apart to tell.
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
    def of(cls, writer: str, cap: float, keeper: str, rounds: Sequence[tuple[Watch, float]]) -> "Result":
        """From several times that it was watched, each with the tokens a second of a core of its own."""
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
    """A node that computes without a pause, into the file ``times``."""

    def __init__(self, node: ContainerNode, metronome: psutil.Process | None, times: Path) -> None:
        self._node = node
        self._metronome = metronome
        self._times = times

    def full(self) -> float:
        """Tokens a second with a core of its own."""
        Cgroup(self._node.pid).uncap_cpu()
        return self._watch(FULL_SECONDS).rate

    def capped(self, cap: float, keeper: Keeper, seconds: float) -> Watch:
        """What it does with a cap."""
        self._node.cap_cpu(cap, keeper.period)
        with nullcontext() if keeper.metronome or self._metronome is None else _suspended(self._metronome):
            return self._watch(seconds)

    def _watch(self, seconds: float) -> Watch:
        before = self._written()
        time.sleep(SETTLED)
        begin, used = time.monotonic(), self._cpu()
        time.sleep(seconds)
        end, used = time.monotonic(), self._cpu() - used
        while not len(times := self._since(before)) or times[-1] < end:
            time.sleep(0.01)
        return Watch(times, begin, end, used)

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
    """A node of a run, with the writer in it beside the agent, which has nothing to do."""
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
    """Start the writer, and wait for its first token; where it notes them."""
    program = Path(__file__).with_name("caps_writer.py").read_text()
    what = WORK if writer == WORK else str(places.MODEL)
    container.exec_run(["python3", "-c", program, what, str(places.SHARED / "times")], detach=True)
    times = shared / "times"
    while not (times.exists() and times.stat().st_size):
        time.sleep(0.1)
    return times


def measure(writer: str, seconds: float) -> Iterator[Result]:
    """Every cap, kept by each, in turns with a core of its own."""
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
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each cap is watched, six times")
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
