"""Gossip Mixture-of-Agents (Mitra, Kaswan, Ulukus, arXiv 2412.21200).

    layer 1          owner ─┬─ own model ──────────┐
                            ├─ neighbour ──────────┤  k neighbours, drawn anew for every layer
                            └─ neighbour ──────────┤
    layer 2 … M      the same, with the question   │
                     and the layer's responses  ◄──┘
    layer M + 1      owner's own model aggregates: the answer

A prompt costs (k + 1)·M + 1 inferences. There is no server: the node that a prompt arrives at asks its neighbours.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from testbed.core.units import Duration
from testbed.patterns.base import Loads, Pattern
from testbed.patterns.participant import Job, JobError, Participant, Prompt

INSTRUCTION = "Weigh these responses, some of which may be wrong, and give the best answer."
"""The zoo's models were trained on these very words; changed words need models trained anew."""


class GossipMoa(Pattern):
    """``layers`` is the paper's M and ``proposers`` its k; with no layers a node answers alone."""

    layers: int = Field(ge=0)
    proposers: int = Field(ge=0)
    timeout: Duration = Field(10.0, description="how long a layer waits for its neighbours")
    neighbours: Literal["all", "linked"] = Field(
        "all", description="whom a node asks: any other node, or those with no further node between"
    )
    substitute: dict[str, str] = Field(
        default_factory=dict, description="words of the responses to replace before they are aggregated, for controls"
    )

    @property
    def peers_needed(self) -> int:
        """``proposers``, where there is a layer that asks them."""
        return self.proposers if self.layers else 0

    @property
    def reach(self) -> Literal["all", "linked"]:
        """``neighbours``"""
        return self.neighbours

    @property
    def last_layer(self) -> int:
        """The layer of the aggregation; layers count from 1."""
        return self.layers + 1

    @property
    def calls(self) -> tuple[int, int]:
        """(k + 1)·M + 1, at least and at most."""
        count = (self.proposers + 1) * self.layers + 1
        return count, count

    def load(self, neighbours: Mapping[str, Sequence[str]]) -> Loads:
        """The calls that every node gets, by role: ``answer`` reads the prompt alone, ``aggregation`` responses, too.

        A node's own prompts bring it a call in each of the M layers, and the aggregation. A prompt of its neighbour j
        brings it one in each layer with the probability k/degⱼ. That is 1 + M + M·Σⱼ k/degⱼ calls; in neighbourhoods
        of one size, the (k + 1)·M + 1 of arXiv 2412.21200, theorem 1. All but those of layer 1 are aggregations.
        """
        return {node: self._load_of(node, neighbours) for node in neighbours}

    def _load_of(self, node: str, neighbours: Mapping[str, Sequence[str]]) -> dict[str, float]:
        asked = sum(min(1.0, self.proposers / len(peers)) for peers in neighbours.values() if node in peers)
        first, later = (asked, (self.layers - 1) * asked) if self.layers else (0.0, 0.0)
        return {"answer": 1 + first, "aggregation": self.layers + later}

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The owner's answer; raises JobError if its own model gives none."""
        text = prompt.text
        for layer in range(1, self.layers + 1):
            responses = await self._propose(Job(prompt.id, layer, text), owner)
            text = aggregation_prompt(prompt.text, responses)
        return await owner.infer(Job(prompt.id, self.layers + 1, text))

    async def _propose(self, job: Job, owner: Participant) -> list[str]:
        """The responses of one layer, the owner's first. Neighbours that fail or are late are left out."""
        present = owner.neighbours
        count = min(self.proposers, len(present))
        drawn = owner.random("proposers", job.prompt, job.layer).sample(present, count)
        asked = (owner.ask(neighbour, job, self.timeout) for neighbour in drawn)
        own, *others = await asyncio.gather(owner.infer(job), *asked, return_exceptions=True)
        for outcome in (own, *others):
            if isinstance(outcome, BaseException) and not isinstance(outcome, JobError):
                raise outcome
        if isinstance(own, JobError):
            raise own
        return [self._substituted(response) for response in (own, *others) if isinstance(response, str)]

    def _substituted(self, response: str) -> str:
        return re.sub(r"\w+", lambda word: self.substitute.get(word[0], word[0]), response)


def aggregation_prompt(question: str, responses: Sequence[str]) -> str:
    """The question, the responses numbered from 1, and what to do with them."""
    numbered = "\n".join(f"Response-{number}: {response}" for number, response in enumerate(responses, 1))
    return f"{question}\n{numbered}\n{INSTRUCTION}"
