"""What a pattern sees of the node that it runs on."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Prompt:
    """A question that arrived at a node."""

    id: str
    text: str


@dataclass(frozen=True)
class Job:
    """One inference that a prompt needs, and the ``layer`` (from 1) that needs it."""

    prompt: str
    layer: int
    text: str


class JobError(Exception):
    """A job has no answer; the message says why."""


class Participant(Protocol):
    """The node that owns a prompt, as its pattern sees it."""

    @property
    def neighbours(self) -> Sequence[str]:
        """The names of the nodes that it can ask now."""

    def random(self, *names: object) -> random.Random:
        """A generator for the subject ``names``, split from the run's seed."""

    async def infer(self, job: Job) -> str:
        """The answer of this node's own model; raises JobError."""

    async def ask(self, neighbour: str, job: Job, timeout: float) -> str:
        """The answer of a neighbour's model, within ``timeout`` seconds; raises JobError."""
