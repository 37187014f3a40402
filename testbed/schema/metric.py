"""The metrics of a run: what can be expected, compared and shown. docs/results.md defines each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Metric:
    """What there is to know of a metric beforehand.

    ``unit`` is the one that its value is held in, ``better`` which way is better, if there is one. ``of_window`` and
    ``of_node`` say whether it has a value for a part of play and for a single node.
    """

    unit: Literal["", "s", "B"] = ""
    better: Literal["higher", "lower"] | None = None
    of_window: bool = True
    of_node: bool = True


METRICS: Final[Mapping[str, Metric]] = {
    "accuracy": Metric(better="higher"),
    "completed": Metric(better="higher"),
    "prompts": Metric(),
    "inferences": Metric(),
    "latency.mean": Metric("s", "lower"),
    "latency.p50": Metric("s", "lower"),
    "latency.p95": Metric("s", "lower"),
    "latency.p99": Metric("s", "lower"),
    "queue.mean": Metric(better="lower"),
    "queue.max": Metric(better="lower"),
    "tokens_per_second": Metric(better="higher"),
    "bytes_on_links": Metric("B", "lower", of_window=False, of_node=False),  # counted where play begins and ends
    "memory.peak": Metric("B", "lower", of_window=False),  # the kernel keeps one peak for all of a container's life
    "retries": Metric(),
    "duplicates": Metric(),
    "late": Metric(),
    "rejected": Metric(),
    "dropped": Metric(),
    "frames_rejected": Metric(),
}
"""All of them by name, in the order in which they are shown."""
