"""What every pattern says of itself: who owns prompts, whom a node needs, which calls a prompt makes."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from pydantic import Field

from testbed.core.registry import Registry
from testbed.core.spec import Spec
from testbed.patterns.participant import Participant, Prompt

Loads = Mapping[str, Mapping[str, float]]
"""By node and role of a call: how many such calls the node gets for each prompt that arrives at every owner."""


class Pattern(Spec):
    """How nodes work together on a prompt: the options under ``pattern:`` in a scenario, and the logic in a node."""

    kind: str = Field(description="the pattern's name, or FILE.py:NAME from the scenario's directory")

    @property
    def peers_needed(self) -> int:
        """How many neighbours every node must have."""
        return 0

    @property
    def reach(self) -> Literal["all", "linked"]:
        """Whom a node may call: every other node, or those with no further node between."""
        return "all"

    @property
    def last_layer(self) -> int:
        """The largest ``layer`` of a prompt's calls, which count from 1."""
        return 1

    def calls(self, owner: str, neighbours: Sequence[str]) -> tuple[int, int] | None:
        """The calls of a prompt of ``owner``, who may call ``neighbours``: at least and at most, if none fails.

        Every run is held to it. None where the pattern does not say.
        """
        del owner, neighbours
        return None

    def owners(self, nodes: Sequence[str]) -> Sequence[str]:
        """The nodes that prompts arrive at, out of all ``nodes`` of the topology."""
        return nodes

    def load(self, neighbours: Mapping[str, Sequence[str]]) -> Loads | None:
        """The calls that every node gets, given whom each node may call; None where its queue is no single server."""
        del neighbours
        return None

    def mistakes(self, nodes: Sequence[str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """What in these options does not fit a topology with ``nodes``: the place, and a sentence."""
        del nodes
        yield from ()

    @abstractmethod
    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The answer to a prompt that arrived at ``owner``; raises JobError if there is none."""


PATTERNS: Final[Registry[type[Pattern]]] = Registry("testbed.patterns", "pattern", Pattern)
