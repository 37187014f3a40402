"""Samples taken at fixed intervals while a run plays: memory, CPU and queue of each node, traffic of each link."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil
import pyarrow as pa
import pyarrow.parquet

from testbed.analysis.board import NodeBoard
from testbed.world.nodes.cgroups import Cgroup
from testbed.world.world import World

SCHEMA: Final = pa.schema(
    [
        pa.field("t", pa.float64(), metadata={"unit": "s", "meaning": "since the beginning of play"}),
        pa.field("node", pa.string(), metadata={"meaning": "null in a link's row"}),
        pa.field("link", pa.string(), metadata={"meaning": "null in a node's row"}),
        pa.field("rss", pa.int64(), metadata={"unit": "B", "source": "psutil, all processes of the container"}),
        pa.field("memory", pa.int64(), metadata={"unit": "B", "source": "cgroup"}),
        pa.field("memory_peak", pa.int64(), metadata={"unit": "B", "source": "cgroup"}),
        pa.field(
            "cpu", pa.float64(), metadata={"unit": "s of a core", "source": "cgroup, since the container's first start"}
        ),
        pa.field("throttled", pa.float64(), metadata={"unit": "s", "source": "cgroup"}),
        pa.field("queue", pa.int32(), metadata={"meaning": "jobs that wait, and the one at work"}),
        pa.field("up", pa.int64(), metadata={"unit": "B", "meaning": "carried from the first end to the second"}),
        pa.field("down", pa.int64(), metadata={"unit": "B"}),
    ]
)
"""One row for each node and each link at each time. Times are the run's; ``cpu`` is work, the same at any dilation."""


@dataclass
class Counter:
    """A count of the kernel's that begins anew when a container is started again, as one that goes on."""

    before: float = 0.0
    last: float = 0.0

    def read(self, count: float) -> float:
        """The count over all starts, now that the kernel says ``count``."""
        if count < self.last:
            self.before += self.last
        self.last = count
        return self.before + count


class Sampler:
    """Takes the samples of one run."""

    def __init__(self, world: World, boards: Mapping[str, NodeBoard]) -> None:
        self._world = world
        self._boards = boards
        self._cgroups = {name: Cgroup(node.pid) for name, node in world.nodes.items()}
        self._cpu, self._throttled = defaultdict[str, Counter](Counter), defaultdict[str, Counter](Counter)
        self._rows: list[dict[str, Any]] = []
        self._throttled_before: dict[str, float] = {}
        self.peaks: dict[str, int] = {}
        self.throttled: dict[str, float] = {}
        """Seconds that each node's cap has kept it waiting since the first sample."""

    def sample(self) -> None:
        """Take one sample of every node that runs and of every link."""
        now = self._world.clock.now()
        for name, node in self._world.nodes.items():
            try:
                self._rows.append({"t": now, "node": name, **self._node(name)})
            except OSError:  # a node that has ended has no files to read
                if not node.ended:
                    raise
        for name, traffic in self._world.network.traffic().items():
            self._rows.append({"t": now, "link": name, **asdict(traffic)})

    def _node(self, name: str) -> dict[str, int | float]:
        usage = self._cgroups[name].read()
        throttled = self._throttled[name].read(self._world.clock.virtual(usage.throttled))
        usage = replace(usage, cpu=self._cpu[name].read(usage.cpu), throttled=throttled)
        board = self._boards[name]
        board.memory = usage.memory
        self.peaks[name] = max(usage.memory_peak, self.peaks.get(name, 0))  # a restart begins with a new cgroup
        self.throttled[name] = usage.throttled - self._throttled_before.setdefault(name, usage.throttled)
        return {**asdict(usage), "rss": _resident(self._cgroups[name].processes()), "queue": board.queue}

    def write(self, path: Path, zero: float) -> None:
        """Write all samples to a Parquet file, with times counted from ``zero``."""
        rows = [{**row, "t": row["t"] - zero} for row in self._rows]
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), path, compression="zstd")


def _resident(processes: list[int]) -> int:
    """Bytes of memory that processes have resident, pages that they share counted for each."""
    total = 0
    for pid in processes:
        with suppress(psutil.NoSuchProcess):
            total += psutil.Process(pid).memory_info().rss
    return total
