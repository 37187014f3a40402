"""The inferences of a run, each as its queue saw it."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from testbed.analysis.spans import JobSpan

Kind = Literal["answer", "aggregation", "other"]
"""An ``answer`` reads the prompt alone, an ``aggregation`` also what others responded; ``other`` serves no prompt."""


@dataclass(frozen=True)
class Inference:
    """A job that came to its end, in seconds; ``layer`` is 0 and ``prompt`` empty of what serves no prompt.

    ``took`` is the time of the model, ``held`` that for which the job was the first in its queue: what the model took,
    and whatever else the node had to do then. It is the ``first`` of a busy period if its node was idle when it came.
    """

    node: str
    prompt: str
    layer: int
    enqueued: float
    took: float
    held: float
    first: bool

    @property
    def kind(self) -> Kind:
        """What it read."""
        if not self.layer:
            return "other"
        return "answer" if self.layer == 1 else "aggregation"


def inferences(jobs: Iterable[JobSpan]) -> list[Inference]:
    """In the order in which they ended. A job that failed, or whose node ended, is none, though it held others up."""
    begun = [(job.ended, job.started, job) for job in jobs if job.started is not None and job.ended is not None]
    free: defaultdict[str, float] = defaultdict(lambda: -math.inf)
    done = []
    for ended, started, job in sorted(begun, key=lambda entry: entry[0]):
        if job.text is not None:
            took, held = ended - started, ended - max(job.enqueued, free[job.node])
            first = job.enqueued > free[job.node]
            done.append(Inference(job.node, job.prompt, job.layer, job.enqueued, took, held, first))
        free[job.node] = ended
    return done
