"""The arrivals of a run: which prompt reaches which node, and when."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from testbed.core import seeds
from testbed.workload.arrivals.base import ArrivalProcess
from testbed.workload.prompts.base import PromptSource, Question


@dataclass(frozen=True)
class Arrival:
    """An arrival at ``node``, ``at`` seconds after the beginning of play. ``prompt`` is its name: ``p1``."""

    at: float
    node: str
    prompt: str
    question: Question


def schedule(
    prompts: PromptSource, arrivals: ArrivalProcess, count: int, owners: Sequence[str], seed: int
) -> list[Arrival]:
    """The first ``count`` arrivals over all ``owners``, in order of time.

    Each node's process is seeded with the node's name, so adding a node does not change the arrivals at others.
    """
    times = heapq.merge(*(_times_at(arrivals, node, seed) for node in owners))
    questions = prompts.questions(count, seed)
    return [
        Arrival(at, node, f"p{number}", question)
        for number, ((at, node), question) in enumerate(zip(islice(times, count), questions, strict=True), 1)
    ]


def _times_at(arrivals: ArrivalProcess, node: str, seed: int) -> Iterator[tuple[float, str]]:
    return ((time, node) for time in arrivals.times(seeds.stream(seed, "arrivals", node)))
