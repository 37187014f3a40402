"""The lanes of each node over the time of play: queue, memory, tokens per second."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from testbed.analysis.measurements import Measurements
from testbed.analysis.recorded import RunFiles
from testbed.analysis.spans import JobSpan
from testbed.core.units import SIZE
from testbed.schema.network.node import Emulated
from testbed.schema.network.topology import Topology
from testbed.show.report.lines import Steps, step_path
from testbed.show.topologies import numbers

_BINS: Final = 120  # in which tokens are counted,
_SHORTEST_BIN: Final = 0.5  # of at least so many seconds: a token or two more or less must not matter much


@dataclass(frozen=True)
class Lane:
    """One value of a node over time; ``scale`` is the value at the top of the figure, ``said`` sums up the run."""

    kind: Literal["queue", "memory", "tokens"]
    name: str
    path: str
    scale: float
    unit: str
    said: str
    capped: bool = False


@dataclass(frozen=True)
class NodeRow:
    """A node and its lanes; ``said`` has its model, device and work."""

    name: str
    said: Sequence[str]
    state: str
    lanes: Sequence[Lane]


@dataclass(frozen=True)
class FaultBar:
    """The time in which a fault was in force, in seconds of play."""

    name: str
    what: str
    begin: float
    end: float


def fault_bars(run: RunFiles) -> list[FaultBar]:
    """The bars of the faults that were in force at some time."""
    end = run.measured.duration
    return [
        FaultBar(
            fault.name,
            f"{fault.kind} {fault.subject}",
            min(fault.began, end),
            end if fault.ended is None else min(fault.ended, end),
        )
        for fault in run.faults
        if fault.began is not None
    ]


def node_rows(run: RunFiles, topology: Topology) -> list[NodeRow]:
    """A row for each node. The queues of all nodes share a scale, and so do their tokens per second."""
    end = run.measured.duration
    steps: dict[str, Mapping[str, Steps]] = {
        "queue": _queue_lengths(run.measured),
        "memory": _memory(run),
        "tokens": _token_rates(run.measured.jobs, end),
    }
    longest, fastest = _most(steps["queue"]), _most(steps["tokens"])
    rows = []
    for name, node in topology.nodes.items():
        told = run.summary["nodes"].get(name, {})
        if "queue" not in told:  # it never came to play
            continue
        path = {kind: step_path(of_nodes.get(name, []), end) for kind, of_nodes in steps.items()}
        cap = node.memory if isinstance(node, Emulated) else None
        lanes = [
            Lane("queue", "queue", path["queue"], longest, "", _queue_said(told)),
            _memory_lane(path["memory"], steps["memory"].get(name, []), told, cap),
            Lane("tokens", "tokens/s", path["tokens"], fastest, "tok/s", _tokens_said(told, end)),
        ]
        said = (*(detail.rpartition("/")[2] for detail in numbers.about(node)), _work(told, end))
        rows.append(NodeRow(name, said, told["state"], lanes))
    return rows


def _work(told: Mapping[str, Any], seconds: float) -> str:
    return f"{told['inferences']} jobs, busy {told['busy_seconds'] / (seconds or 1):.0%}"


def _queue_said(told: Mapping[str, Any]) -> str:
    return f"⌀ {told['queue']['mean']:.2g}, most {told['queue']['max']}"


def _memory_lane(path: str, steps: Steps, told: Mapping[str, Any], cap: int | None) -> Lane:
    top = _most({"": steps}) if cap is None else cap / 2**20
    return Lane("memory", "memory", path, top, "MiB", _memory_said(told, cap), capped=cap is not None)


def _memory_said(told: Mapping[str, Any], cap: int | None) -> str:
    peak = told["memory"]["peak"]
    if cap is None:
        return "not known" if peak is None else SIZE.readable(peak)
    return f"cap {cap / 2**20:.0f} MiB" if peak is None else f"{peak / 2**20:.0f} of {cap / 2**20:.0f} MiB"


def _tokens_said(told: Mapping[str, Any], seconds: float) -> str:
    return f"⌀ {told['tokens'] / (seconds or 1):.3g}"


def _most(steps: Mapping[str, Steps]) -> float:
    return max((value for of_node in steps.values() for _, value in of_node), default=0.0) or 1.0


def _queue_lengths(measured: Measurements) -> dict[str, Steps]:
    return {
        node: [(t, length) for (t, _), length in zip(steps, accumulate(step for _, step in steps), strict=True)]
        for node, steps in measured.queue_steps.items()
    }


def _memory(run: RunFiles) -> dict[str, Steps]:
    """MiB by node; 0 while the node had exited."""
    steps: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    samples = run.samples.select(["t", "node", "memory"]).drop_null()
    for t, node, used in zip(*(column.to_pylist() for column in samples.columns), strict=True):
        steps[node].append((max(0.0, t), used / 2**20))
    for event in run.measured.events:
        if event["event"] == "exited":
            steps[event["who"]].append((max(0.0, event["t"]), 0.0))
    return {node: sorted(of_node) for node, of_node in steps.items()}


def _token_rates(jobs: Sequence[JobSpan], end: float) -> dict[str, Steps]:
    """Tokens per second by node; those of a job are spread evenly over its inference."""
    bins = max(1, min(_BINS, int(end / _SHORTEST_BIN)))
    edges = np.linspace(0.0, end or 1.0, bins + 1)
    written: defaultdict[str, npt.NDArray[np.float64]] = defaultdict(lambda: np.zeros(bins + 1))  # until each edge
    for job in jobs:
        if job.started is not None and job.ended is not None:
            took = max(job.ended - job.started, 1e-9)
            written[job.node] += job.tokens * np.clip((edges - job.started) / took, 0.0, 1.0)
    rates = {node: np.diff(until) / np.diff(edges) for node, until in written.items()}
    return {node: list(zip(edges.tolist(), of_node.tolist(), strict=False)) for node, of_node in rates.items()}
