"""Which prompts arrive where and when."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from testbed.core import seeds
from testbed.schema.scenario import Workload
from testbed.workload.prompts import worldfacts


@dataclass(frozen=True)
class Arrival:
    """A prompt that comes to ``node``, ``at`` seconds after the beginning of play.

    Without a ``truth`` no answer to it is right or wrong.
    """

    at: float
    node: str
    prompt: str
    text: str
    truth: str | None


def schedule(workload: Workload, owners: Sequence[str], seed: int) -> list[Arrival]:
    """The first ``workload.count`` arrivals at all owners together, in their order.

    Each node has a Poisson process of its own, seeded by its name: one node more or less changes no other's.
    """
    times = heapq.merge(*(_poisson(workload.arrivals.rate, node, seed) for node in owners))
    questions = worldfacts.held_out(workload.count, seed)
    return [
        Arrival(at, node, f"p{number}", question.text, question.truth)
        for number, ((at, node), question) in enumerate(zip(islice(times, workload.count), questions, strict=True), 1)
    ]


def _poisson(rate: float, node: str, seed: int) -> Iterator[tuple[float, str]]:
    generator = seeds.stream(seed, "arrivals", node)
    now = 0.0
    while True:
        now += generator.expovariate(rate)
        yield now, node
