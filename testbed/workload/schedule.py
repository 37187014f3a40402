"""Which prompts arrive where and when."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from testbed.core import seeds
from testbed.workload.arrivals.base import ArrivalProcess
from testbed.workload.prompts.base import PromptSource, Question


@dataclass(frozen=True)
class Arrival:
    """The question ``question``, called ``prompt``, comes to ``node``, ``at`` seconds after the beginning of play."""

    at: float
    node: str
    prompt: str
    question: Question


def schedule(
    prompts: PromptSource, arrivals: ArrivalProcess, count: int, owners: Sequence[str], seed: int
) -> list[Arrival]:
    """The first ``count`` arrivals at all owners together, in their order.

    Every node has an arrival process of its own, seeded by the node's name: one node more or less changes no other's.
    """
    times = heapq.merge(*(_times_at(arrivals, node, seed) for node in owners))
    questions = prompts.questions(count, seed)
    return [
        Arrival(at, node, f"p{number}", question)
        for number, ((at, node), question) in enumerate(zip(islice(times, count), questions, strict=True), 1)
    ]


def _times_at(arrivals: ArrivalProcess, node: str, seed: int) -> Iterator[tuple[float, str]]:
    return ((time, node) for time in arrivals.times(seeds.stream(seed, "arrivals", node)))
