"""How exact caps of CPU are: sudo .venv/bin/python benchmarks/caps.py --out caps.json

A node computes without a pause: bare work, a model of real size whose token takes a core about 14 ms, and a tiny one.
Its cap is 0.1 to 0.9 of a core, kept as the testbed does, by the kernel alone, and as Docker does by default. Between
these it has a core of its own, since no host is as fast all the time. From the time of each token follow

- its speed, beside that of a core times the cap,
- the least and the most that it did in any 100 ms, beside the mean,
- the longest hole: the longest time between two tokens, less what one takes a core,
- how long it took for what a core does in 14 ms.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from docker.models.containers import Container
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from startup import Unlinked

from testbed.emulation.cgroups import Cgroup
from testbed.emulation.containers import CFS_PERIOD, container_name
from testbed.emulation.journal import Journal
from testbed.emulation.plan import prepare
from testbed.node import config as places
from testbed.spec.scenario import Scenario

CAPS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
WORK: Final = "work"
WRITERS: Final = (WORK, "synthetic:microllama-300m-q4_0", "zoo/alpha")

NODE: Final = "a"
WINDOW: Final = 0.1  # seconds
TOKEN: Final = 0.014  # seconds of a core
FULL_SECONDS: Final = 0.8
SETTLED: Final = 0.25  # seconds after a change of the cap

Times = NDArray[np.float64]
"""When tokens were drawn, in seconds."""


@dataclass(frozen=True)
class Keeper:
    """Who keeps a cap: in periods of so many seconds, with the metronome or without."""

    name: str
    period: float
    metronome: bool
    part: float  # of the time that the first is watched for


KEEPERS: Final = (
    Keeper("testbed", CFS_PERIOD, metronome=True, part=1.0),
    Keeper("kernel alone", CFS_PERIOD, metronome=False, part=0.5),
    Keeper("Docker's period", 0.1, metronome=False, part=0.5),
)


@dataclass(frozen=True)
class Evenness:
    """What the times of tokens come to, in seconds.

    ``least`` and ``most`` are of any 100 ms, as shares of the mean. They and the longest hole are None where tokens are
    too far apart to tell.
    """

    tokens_per_second: float
    least: float | None
    most: float | None
    longest_hole: float | None
    token_p50: float
    token_p99: float

    @classmethod
    def of(cls, times: Times, full: float) -> "Evenness":
        """``full`` are the tokens a second of a core of its own."""
        count = len(times) - 1
        rate = count / (times[-1] - times[0])
        tokens = full * TOKEN
        begins = np.arange(0, count - tokens, tokens / 3)
        took = _time_of(begins + tokens, times) - _time_of(begins, times)
        p50, p99 = map(float, np.percentile(took, [50, 99]))
        if 5 / rate > WINDOW:
            return cls(rate, None, None, None, p50, p99)
        starts = np.linspace(times[0], times[-1] - WINDOW, 4 * count)
        done = (_progress(starts + WINDOW, times) - _progress(starts, times)) / (rate * WINDOW)
        hole = np.diff(times).max() - 1 / full
        return cls(rate, float(done.min()), float(done.max()), float(hole), p50, p99)


def _progress(t: Times, times: Times) -> Times:
    """How many tokens had been written at some times, in fractions of tokens."""
    return np.interp(t, times, np.arange(len(times)))


def _time_of(tokens: Times, times: Times) -> Times:
    """When so many had been written."""
    return np.interp(tokens, np.arange(len(times)), times)


@dataclass(frozen=True)
class Result:
    """What a node with a cap was seen to do; ``full`` are the tokens a second of a core of its own just then."""

    writer: str
    cap: float
    keeper: str
    full: float
    measured: Evenness

    @property
    def of_share(self) -> float:
        """Its speed beside that which it should have."""
        return self.measured.tokens_per_second / (self.cap * self.full)


class Bench:
    """A node that computes without a pause, into the file ``times``."""

    def __init__(self, world: Unlinked, metronome: psutil.Process | None, times: Path) -> None:
        self._node = world.nodes[NODE]
        self._metronome = metronome
        self._times = times

    def full(self) -> float:
        """Tokens a second with a core of its own."""
        Cgroup(self._node.pid).uncap_cpu()
        times = self._watch(FULL_SECONDS)
        return (len(times) - 1) / float(times[-1] - times[0])

    def capped(self, cap: float, keeper: Keeper, seconds: float) -> Times:
        """What it does meanwhile."""
        self._node.cap_cpu(cap, keeper.period)
        with nullcontext() if keeper.metronome or self._metronome is None else _suspended(self._metronome):
            return self._watch(seconds * keeper.part)

    def _watch(self, seconds: float) -> Times:
        time.sleep(SETTLED)
        before = self._times.stat().st_size
        time.sleep(seconds)
        size = self._times.stat().st_size - before
        with self._times.open("rb") as file:
            file.seek(before)
            return np.frombuffer(file.read(size - size % 8), dtype=np.float64)


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
        yield Bench(world, metronome, _start(container, writer, world.shared[NODE]))
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
    """Every cap, kept by each, between looks at how fast a core of its own is."""
    with computing_node(writer) as bench:
        full = bench.full()
        for cap, keeper in product(CAPS, KEEPERS):
            times = bench.capped(cap, keeper, seconds)
            before, full = full, bench.full()
            around = (before + full) / 2
            yield Result(writer, cap, keeper.name, around, Evenness.of(times, around))


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to store all figures as JSON")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long the testbed's caps are watched, each")
    parser.add_argument("--writers", nargs="+", default=WRITERS, help="models, or work")
    chosen = parser.parse_args()
    results = [result for writer in chosen.writers for result in measure(writer, chosen.seconds)]
    Console(width=120).print(_table(results))
    if chosen.out:
        stored = [asdict(result) | {"of_share": result.of_share} for result in results]
        chosen.out.write_text(json.dumps(stored, indent=2) + "\n")


def _table(results: Sequence[Result]) -> Table:
    table = Table("writer", "cap", "kept by", "of its share", "least in 100 ms", "most", "hole", "14 ms: p50", "p99")
    for result in results:
        one = result.measured
        table.add_row(
            result.writer.removeprefix("synthetic:"),
            f"{result.cap:g}",
            result.keeper,
            f"{result.of_share:.1%}",
            *("–" if share is None else f"{share:.0%}" for share in (one.least, one.most)),
            *("–" if seconds is None else f"{seconds * 1e3:.0f} ms" for seconds in (one.longest_hole,)),
            *(f"{seconds * 1e3:.0f} ms" for seconds in (one.token_p50, one.token_p99)),
        )
    return table


if __name__ == "__main__":
    main()
