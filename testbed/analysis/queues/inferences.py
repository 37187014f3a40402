"""The inferences of a run, each as the node's queue saw it."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from testbed.analysis.spans import JobSpan

OTHER: Final = "other"
"""The role of inferences that serve no prompt: other clients of a node's API asked for them."""


@dataclass(frozen=True)
class Inference:
    """A job that ended with a completion. Times are in seconds; ``layer`` is 0 if the job serves no prompt.

    ``took`` is the time of the model. ``held`` is the time for which the job was the first in its queue: the model's,
    and that of whatever else the node did then. ``first`` says that the node was idle when the job came, so that the
    job begins a busy period.
    """

    node: str
    prompt: str
    layer: int
    role: str
    enqueued: float
    took: float
    held: float
    first: bool


def inferences(jobs: Iterable[JobSpan]) -> list[Inference]:
    """All inferences in the order of their ends.

    A job that failed, or whose node exited, is no inference, but the jobs behind it waited for it.
    """
    begun = [(job.ended, job.started, job) for job in jobs if job.started is not None and job.ended is not None]
    free: defaultdict[str, float] = defaultdict(lambda: -math.inf)
    done = []
    for ended, started, job in sorted(begun, key=lambda entry: entry[0]):
        if job.text is not None:
            took, held = ended - started, ended - max(job.enqueued, free[job.node])
            first, role = job.enqueued > free[job.node], job.role or OTHER
            done.append(Inference(job.node, job.prompt, job.layer, role, job.enqueued, took, held, first))
        free[job.node] = ended
    return done
