"""Arrivals at one instant."""

from collections.abc import Iterator, Sequence
from itertools import cycle

from testbed.workload.arrivals.base import ArrivalProcess, Slot


class AtOnce(ArrivalProcess):
    """All prompts arrive when play begins, spread over the nodes in turn."""

    def slots(self, nodes: Sequence[str], seed: int) -> Iterator[Slot]:
        """Slots at 0 s, at each node in turn, without end."""
        del seed
        return (Slot(node, 0.0) for node in cycle(nodes))

    def seconds(self, count: int, nodes: Sequence[str]) -> float:
        """0: all prompts have arrived when play begins."""
        del count, nodes
        return 0.0
