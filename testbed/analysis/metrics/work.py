"""Metrics of the work of nodes: inferences, queues, memory."""

from statistics import fmean

from testbed.analysis.measurements import Part
from testbed.schema.metric import metric


@metric(rank=4)
def inferences(part: Part) -> int:
    """Number of inferences that came to their end."""
    return len(part.of("end"))


@metric(better="lower", rank=9)
def queue_mean(part: Part) -> float | None:
    """Mean length of a node's queue over time, averaged over nodes."""
    return fmean(queue.mean for queue in part.queues.values()) if part.queues else None


@metric(better="lower", rank=10)
def queue_max(part: Part) -> int | None:
    """Length of the longest queue of any node."""
    return max((queue.max for queue in part.queues.values()), default=None)


@metric("tokens/s", "higher", rank=11)
def tokens_per_second(part: Part) -> float | None:
    """Tokens that all models wrote, per second of play."""
    return sum(event["tokens"] for event in part.of("end")) / part.seconds if part.seconds else None


# The kernel keeps one peak for the whole life of a container, so there is none of a window.
@metric("B", "lower", of_window=False, rank=13)
def memory_peak(part: Part) -> int | None:
    """Highest memory peak of any node's cgroup."""
    return max(part.memory_peaks, default=None)
