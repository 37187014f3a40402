"""Throughput of right answers."""

from testbed.analysis.measurements import Part
from testbed.schema.metric import metric


@metric(unit="/s", better="higher")
def right_answers(part: Part) -> float | None:
    """Right answers per second of play; an answer that is half right counts half."""
    return sum(part.scores) / part.seconds if part.seconds else None
