"""Metrics of the energy that power sensors measured. Without a sensor they have no value."""

from testbed.analysis.measurements import Part
from testbed.schema.metric import metric


@metric("J", "lower", rank=42)
def joules(part: Part) -> float | None:
    """Energy that the power sensors of nodes measured."""
    return _joules(part)


@metric("J", "lower", rank=43)
def joules_per_prompt(part: Part) -> float | None:
    """Measured energy per prompt that was answered."""
    return _share(_joules(part), len(part.answered))


@metric("J", "lower", rank=44)
def joules_per_token(part: Part) -> float | None:
    """Measured energy per token that the models of nodes with a power sensor wrote."""
    return _share(_joules(part), sum(event["tokens"] for event in part.of("end") if event["node"] in part.joules))


def _joules(part: Part) -> float | None:
    known = [taken for taken in part.joules.values() if taken is not None]
    return sum(known) if known and len(known) == len(part.joules) else None


def _share(taken: float | None, count: int) -> float | None:
    return taken / count if taken is not None and count else None
