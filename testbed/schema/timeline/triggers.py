"""Triggers: conditions on the nodes that an entry of a timeline waits for in place of a time."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import Field, field_validator, model_validator

from testbed.core.spec import Spec
from testbed.schema.bound import Bound
from testbed.schema.fault import node_mistakes
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake

_LONGEST_QUEUE: Final = 100_000  # jobs; a bound that no shorter queue keeps is refused


class Standing(Protocol):
    """What triggers read of a node.

    ``queue`` counts the jobs that wait or run, ``tokens`` those that the node's model has written, ``answered`` and
    ``failed`` the prompts that the node owns and that have ended, ``layer`` is the highest whose first job has begun.
    """

    queue: int
    tokens: int
    answered: int
    failed: int
    layer: int


Standings = Mapping[str, Standing]
"""The standing of every node, by name."""


@dataclass(frozen=True)
class Extent:
    """What a scenario fixes about its play in advance.

    ``prompts`` is the number of prompts, ``last_layer`` the highest layer of the pattern, ``seconds`` the expected time
    of the last arrival, from the beginning of play. ``truths`` says whether the right answer to any prompt is known.
    """

    topology: Topology
    prompts: int
    last_layer: int
    seconds: float
    truths: bool = True


class Trigger(Spec):
    """A condition on nodes; the entry's fault begins when it is first met."""

    @abstractmethod
    def met(self, nodes: Standings) -> bool:
        """Whether the condition is met now."""

    @abstractmethod
    def mistakes(self, extent: Extent) -> Iterator[Mistake]:
        """Reasons why the condition can never be met."""


class After(Trigger):
    """A number of prompts has ended, answered or failed, or of tokens has been written; in total or at one node."""

    prompts: int | None = Field(None, ge=1, description="prompts that have ended; with `node`, those that it owns")
    tokens: int | None = Field(None, ge=1, description="tokens that models have written")
    node: str | None = Field(None, description="the node whose prompts or tokens count; without it, all do")

    @model_validator(mode="after")
    def _check(self) -> "After":
        if (self.prompts is None) == (self.tokens is None):
            raise ValueError("takes either `prompts` or `tokens`, like {prompts: 10}")
        return self

    def met(self, nodes: Standings) -> bool:
        """Whether the count has reached ``prompts`` or ``tokens``."""
        counted = list(nodes.values()) if self.node is None else [nodes[self.node]]
        if self.tokens is not None:
            return sum(node.tokens for node in counted) >= self.tokens
        return sum(node.answered + node.failed for node in counted) >= (self.prompts or 0)

    def mistakes(self, extent: Extent) -> Iterator[Mistake]:
        """An unknown node, or more prompts than the workload has."""
        if self.node is not None:
            yield from node_mistakes(("node",), self.node, extent.topology)
        if (self.prompts or 0) > extent.prompts:
            yield ("prompts",), f"never comes: the workload has {extent.prompts} prompts; wait for at most that many"


class When(Trigger):
    """The length of a node's queue keeps a bound."""

    node: str
    queue: str = Field(description='bound on the jobs that wait or run, like "> 3"')

    @field_validator("queue")
    @classmethod
    def _is_bound(cls, queue: str) -> str:
        bound = Bound.parse("queue.max", queue)
        if not any(map(bound.holds, range(_LONGEST_QUEUE))):
            raise ValueError(f"no queue keeps {queue!r}; bound a whole number from 0 on, like '> 3'")
        return queue

    def met(self, nodes: Standings) -> bool:
        """Whether the queue keeps the bound now."""
        return Bound.parse("queue.max", self.queue).holds(nodes[self.node].queue)

    def mistakes(self, extent: Extent) -> Iterator[Mistake]:
        """An unknown node."""
        yield from node_mistakes(("node",), self.node, extent.topology)


class In(Trigger):
    """The first job of a layer has begun, of any prompt."""

    layer: int = Field(ge=1)

    def met(self, nodes: Standings) -> bool:
        """Whether a job of this layer, or of a later one, has begun."""
        return any(node.layer >= self.layer for node in nodes.values())

    def mistakes(self, extent: Extent) -> Iterator[Mistake]:
        """A layer beyond the last of the pattern."""
        if self.layer > extent.last_layer:
            yield (
                ("layer",),
                f"never comes: the last layer of this pattern is {extent.last_layer}; name that or a lower one",
            )
