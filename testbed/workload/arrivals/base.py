"""The base of arrival processes: the part of a scenario file that says at which nodes prompts arrive, and when."""

import heapq
import random
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from pydantic import Field, model_validator

from testbed.core import seeds
from testbed.core.registry import Registry
from testbed.core.spec import Spec
from testbed.core.units import Rate

Mistake = tuple[tuple[str | int, ...], str]
"""A place in a process's options, and the sentence on what is wrong there."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of a prompt, ``input``, and of its answer, ``output``."""

    input: int
    output: int


@dataclass(frozen=True)
class Slot:
    """A place in the order of arrivals, which a prompt will take.

    ``at`` is in seconds after the beginning of play; or, where ``after`` is the number of an earlier slot, counted from
    0, in seconds after the prompt of that slot has ended.
    """

    node: str
    at: float
    after: int | None = None


class ArrivalProcess(Spec):
    """How prompts arrive at all nodes together. Most processes are an :class:`OpenLoop`, which is less to write."""

    memoryless: ClassVar[bool] = False
    """Whether arrivals at every node are Poisson, as the M/G/1 formulas assume."""

    process: str = Field(description="the process's name, or FILE.py:NAME from the scenario's directory")

    @abstractmethod
    def slots(self, nodes: Sequence[str], seed: int) -> Iterator[Slot]:
        """Where and when prompts arrive at ``nodes``; slots that follow no other ascend by ``at``."""

    @abstractmethod
    def seconds(self, count: int, nodes: Sequence[str]) -> float:
        """The expected time until the last of ``count`` prompts has arrived, without the time that answers take."""

    def lengths(self) -> Iterator[Lengths]:
        """The length of each slot's prompt, in the order of slots; raises ValueError where they are not known."""
        raise ValueError(f"`{self.process}` says nothing of lengths; take a trace with columns of them")

    def mean_rates(self, nodes: Sequence[str]) -> Mapping[str, float] | None:
        """Mean prompts per second by node, of those where prompts arrive; None where answers decide, or the end."""
        del nodes
        return None

    def mistakes(self, count: int, nodes: Sequence[str]) -> Iterator[Mistake]:
        """What in these options does not fit a workload of ``count`` prompts at ``nodes``."""
        del count, nodes
        yield from ()


class OpenLoop(ArrivalProcess):
    """Arrivals that wait for no answer: independent processes at the nodes, each with a mean rate.

    Where ``rates`` leaves a node out, ``rate`` is its rate; without ``rate``, no prompts arrive there.
    """

    rate: Rate | None = Field(None, description="mean number of prompts in a time, at each node")
    rates: dict[str, Rate] = Field(default_factory=dict, description="by node, where it differs from `rate`")

    @abstractmethod
    def times(self, rate: float, generator: random.Random) -> Iterator[float]:
        """Arrivals at one node in seconds since the beginning of play: ascending, infinite, ``rate`` of them a second.

        They are drawn from ``generator`` alone.
        """

    def mean_rates(self, nodes: Sequence[str]) -> Mapping[str, float]:
        """Mean prompts per second by node."""
        found = {node: self.rates.get(node, self.rate) for node in nodes}
        return {node: rate for node, rate in found.items() if rate is not None}

    def slots(self, nodes: Sequence[str], seed: int) -> Iterator[Slot]:
        """Slots in order of time. A process is seeded with its node's name: a further node changes no other's times."""
        times = [self._at(node, rate, seed) for node, rate in self.mean_rates(nodes).items()]
        return (Slot(node, at) for at, node in heapq.merge(*times))

    def seconds(self, count: int, nodes: Sequence[str]) -> float:
        """The prompts over the rates of all nodes."""
        return count / sum(self.mean_rates(nodes).values())

    def mistakes(self, count: int, nodes: Sequence[str]) -> Iterator[Mistake]:
        """Rates of nodes at which no prompts can arrive."""
        del count
        for node in self.rates:
            if node not in nodes:
                yield ("rates", node), f"prompts arrive at {', '.join(nodes)}, and {node!r} is none of them"

    @model_validator(mode="after")
    def _has_a_rate(self) -> "OpenLoop":
        if self.rate is None and not self.rates:
            raise ValueError("`rate` is missing: write the mean number of prompts at each node, like rate: 0.5/s")
        return self

    def _at(self, node: str, rate: float, seed: int) -> Iterator[tuple[float, str]]:
        return ((time, node) for time in self.times(rate, seeds.stream(seed, "arrivals", node)))


ARRIVALS: Final[Registry[type[ArrivalProcess]]] = Registry("testbed.arrivals", "arrival process", ArrivalProcess)
