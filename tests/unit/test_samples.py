"""What is sampled of nodes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet

from testbed.analysis.board import NodeBoard
from testbed.record.samples import Sampler
from testbed.world.nodes.consumption import Counter
from testbed.world.nodes.handle import Usage


def test_a_count_goes_on_over_restarts() -> None:
    counter = Counter()
    assert [counter.read(count) for count in (1.0, 4.0, 0.5, 2.0, 0.0, 3.0)] == [1.0, 4.0, 4.5, 6.0, 6.0, 9.0]


def test_the_length_of_a_queue_is_that_at_the_time_of_the_sample(tmp_path: Path) -> None:
    """Not that of the events which had reached the host by then."""
    usage = Usage(rss=1, memory=2, memory_peak=3, cpu=0.1, throttled=0.0)
    times = iter([100.5, 101.5, 102.5, 103.5])
    world: Any = SimpleNamespace(
        clock=SimpleNamespace(now=lambda: next(times)),
        nodes={"a": SimpleNamespace(usage=lambda: usage), "b": SimpleNamespace(usage=lambda: None)},
        network=SimpleNamespace(traffic=dict),
    )
    sampler = Sampler(world, {"a": NodeBoard(), "b": NodeBoard()})
    for _ in range(4):
        sampler.sample()
    sampler.write(tmp_path / "samples.parquet", 100.0, {"a": [(1.0, 1), (1.5, 1), (2.0, -1)], "b": [(1.0, 1)]})
    rows = pyarrow.parquet.read_table(tmp_path / "samples.parquet").to_pylist()
    assert [(row["t"], row["node"], row["queue"]) for row in rows] == [
        (0.5, "a", 0),
        (1.5, "a", 2),
        (2.5, "a", 1),
        (3.5, "a", 1),
    ]
