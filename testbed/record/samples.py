"""Samples at fixed intervals during play: memory, CPU and queue of each node, traffic of each link."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from testbed.analysis.board import NodeBoard
from testbed.analysis.measurements import Steps
from testbed.record.power import Gauge
from testbed.world.nodes.handle import Usage
from testbed.world.world import World

SCHEMA: Final = pa.schema(
    [
        pa.field("t", pa.float64(), metadata={"unit": "s", "meaning": "since the beginning of play"}),
        pa.field("node", pa.string(), metadata={"meaning": "null in a link's row"}),
        pa.field("link", pa.string(), metadata={"meaning": "null in a node's row"}),
        pa.field("rss", pa.int64(), metadata={"unit": "B", "source": "psutil, all processes of the node"}),
        pa.field("memory", pa.int64(), metadata={"unit": "B", "source": "cgroup"}),
        pa.field("memory_peak", pa.int64(), metadata={"unit": "B", "source": "cgroup"}),
        pa.field(
            "cpu", pa.float64(), metadata={"unit": "s of a core", "source": "cgroup, since the node's first start"}
        ),
        pa.field("throttled", pa.float64(), metadata={"unit": "s", "source": "cgroup"}),
        pa.field("queue", pa.int32(), metadata={"meaning": "jobs that wait or are at work", "source": "events"}),
        pa.field(
            "joules", pa.float64(), metadata={"unit": "J", "meaning": "since play began; null without a power sensor"}
        ),
        pa.field("up", pa.int64(), metadata={"unit": "B", "meaning": "carried from the first end to the second"}),
        pa.field("down", pa.int64(), metadata={"unit": "B"}),
    ]
)
"""A row for each node and each link at each time. Times are virtual; ``cpu`` is work and independent of dilation."""


_NONE: Final[Mapping[str, Gauge]] = {}


class Sampler:
    """Takes the samples of one run. ``peaks`` are bytes by node.

    ``throttled`` are the seconds by node that a CPU cap has kept it waiting since the first sample.
    """

    def __init__(self, world: World, boards: Mapping[str, NodeBoard], gauges: Mapping[str, Gauge] = _NONE) -> None:
        self._world = world
        self._gauges = gauges
        self._boards = boards
        self._rows: list[dict[str, Any]] = []
        self._throttled_before: dict[str, float] = {}
        self.peaks: dict[str, int] = {}
        self.throttled: dict[str, float] = {}

    def sample(self) -> None:
        """Take one sample of every node that reports its usage, and of every link."""
        now = self._world.clock.now()
        for name, node in self._world.nodes.items():
            usage, gauge = node.usage(), self._gauges.get(name)
            if usage:
                self._note(name, usage)
            if usage or gauge:
                used = asdict(usage) if usage else {}
                self._rows.append({"t": now, "node": name, **used, "joules": gauge.joules if gauge else None})
        for name, traffic in self._world.network.traffic().items():
            self._rows.append({"t": now, "link": name, **asdict(traffic)})

    def _note(self, name: str, usage: Usage) -> None:
        self._boards[name].memory = usage.memory
        self.peaks[name] = max(usage.memory_peak, self.peaks.get(name, 0))  # a restart begins with a new cgroup
        self.throttled[name] = usage.throttled - self._throttled_before.setdefault(name, usage.throttled)

    def energy(self, zero: float) -> dict[str, list[tuple[float, float]]]:
        """By node with a sensor, seconds from ``zero`` and joules since the first reading."""
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in self._gauges}
        for row in self._rows:
            if row.get("joules") is not None:
                found[row["node"]].append((row["t"] - zero, row["joules"]))
        return found

    def write(self, path: Path, zero: float, queues: Mapping[str, Steps]) -> None:
        """Write all samples to a Parquet file, with times counted from ``zero``.

        The lengths of ``queues`` are added here: an event reaches the host some time after it happened in its node.
        """
        rows = [{**row, "t": row["t"] - zero} for row in self._rows]
        for node, steps in queues.items():
            _add_lengths([row for row in rows if row.get("node") == node], steps)
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), path, compression="zstd")


def _add_lengths(rows: list[dict[str, Any]], steps: Steps) -> None:
    """Add the length of a node's queue to its rows."""
    times, lengths = [t for t, _ in steps], [0, *accumulate(change for _, change in steps)]
    for row in rows:
        row["queue"] = lengths[bisect_right(times, row["t"])]
