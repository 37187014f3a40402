"""Metrics of prompts: whether they were answered, how well, and how soon."""

from statistics import fmean

from testbed.analysis.distributions import percentile
from testbed.analysis.measurements import Part
from testbed.schema.metric import OverPrompts, metric


@metric("%", "higher", counted=True, over_prompts=OverPrompts("score"), rank=1)
def accuracy(part: Part) -> float | None:
    """Mean score of the answers that were judged."""
    return fmean(part.scores) if part.scores else None


@metric("%", "higher", counted=True, over_prompts=OverPrompts("answered"), rank=2)
def completed(part: Part) -> float | None:
    """Share of prompts that were answered."""
    return len(part.answered) / len(part.prompts) if part.prompts else None


@metric(rank=3)
def prompts(part: Part) -> int:
    """Number of prompts that were handed to their owners."""
    return len(part.prompts)


@metric("s", "lower", over_prompts=OverPrompts("latency"), rank=5)
def latency_mean(part: Part) -> float | None:
    """Mean time from a prompt's arrival at its owner to its answer."""
    return fmean(part.latencies) if part.latencies else None


@metric("s", "lower", over_prompts=OverPrompts("latency", 0.50), rank=6)
def latency_p50(part: Part) -> float | None:
    """Median latency."""
    return percentile(part.latencies, 0.50)


@metric("s", "lower", over_prompts=OverPrompts("latency", 0.95), rank=7)
def latency_p95(part: Part) -> float | None:
    """95th percentile of latencies."""
    return percentile(part.latencies, 0.95)


@metric("s", "lower", over_prompts=OverPrompts("latency", 0.99), rank=8)
def latency_p99(part: Part) -> float | None:
    """99th percentile of latencies."""
    return percentile(part.latencies, 0.99)
