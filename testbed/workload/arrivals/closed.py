"""A closed loop: users who wait for an answer before they ask again."""

import random
from collections.abc import Iterator, Sequence
from itertools import count as numbers

from pydantic import Field

from testbed.core import seeds
from testbed.core.units import Duration
from testbed.workload.arrivals.base import ArrivalProcess, Slot


class Closed(ArrivalProcess):
    """Users at every node, each with one prompt outstanding at most.

    A user thinks, asks, and waits until that prompt has ended, answered or failed. Times to think are exponentially
    distributed, as in the machine-repairman model (Kleinrock, Queueing Systems, volume 1, 1975, section 3.8). Users
    take turns in the order of prompts, so who asks which prompt does not depend on how fast nodes are.
    """

    users: int = Field(ge=1, description="users at each node")
    think: Duration = Field(description="mean time from the end of a user's prompt to the next one; 0s is none")

    def slots(self, nodes: Sequence[str], seed: int) -> Iterator[Slot]:
        """Slots in rounds, in each of which every user of every node asks once."""
        users = [(node, seeds.stream(seed, "arrivals", node, user)) for user in range(self.users) for node in nodes]
        first = sorted((self._thought(generator), number) for number, (_, generator) in enumerate(users))
        order = [users[number] for _, number in first]
        yield from (Slot(node, at) for (at, _), (node, _) in zip(first, order, strict=True))
        for number in numbers(len(order)):
            node, generator = order[number % len(order)]
            yield Slot(node, self._thought(generator), after=number - len(order))

    def seconds(self, count: int, nodes: Sequence[str]) -> float:
        """The mean time that a user thinks in all."""
        return self.think * count / (self.users * len(nodes))

    def _thought(self, generator: random.Random) -> float:
        return generator.expovariate(1 / self.think) if self.think else 0.0
