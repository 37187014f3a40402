"""Gossip Mixture-of-Agents (Mitra, Kaswan, Ulukus, arXiv 2412.21200).

    layer 1          owner ─┬─ own model ──────────┐
                            ├─ neighbour ──────────┤  k neighbours, drawn anew for every layer
                            └─ neighbour ──────────┤
    layer 2 … M      the same, with the question   │
                     and the layer's responses  ◄──┘
    layer M + 1      owner's own model aggregates: the answer

A prompt costs (k + 1)·M + 1 inferences, or (k + 1)·M if the last layer's responses are counted instead. There is no
server: the node at which a prompt arrives calls its neighbours.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from pydantic import Field

from testbed.core.units import Duration
from testbed.patterns.base import Loads, Pattern
from testbed.patterns.horizontal.aggregation import aggregation_prompt, fenced
from testbed.patterns.horizontal.ballots import Weighing, counted
from testbed.patterns.participant import Call, Completion, JobError, Participant, Prompt, Surroundings
from testbed.patterns.signals import Signal


class GossipMoa(Pattern):
    """The owner combines its own answers with those of random neighbours, layer by layer (arXiv 2412.21200).

    ``layers`` is the paper's M and ``proposers`` its k. Without layers the owner answers alone.
    """

    layers: int = Field(ge=0)
    proposers: int = Field(ge=0)
    timeout: Duration = Field(10.0, description="how long a layer waits for its neighbours")
    neighbours: Literal["all", "linked"] = Field(
        "all", description="whom a node asks: any other node, or those with no further node between"
    )
    aggregate: Literal["model", "vote", "weighted", "dropout"] = Field(
        "model",
        description="what makes the answer of the last layer's responses: the owner's model, their number, or their "
        "confidences; by `dropout`, a vote of what the owner's model makes of random halves of them",
    )
    subsets: int = Field(3, ge=1, description="of `aggregate: dropout`: how many halves")
    fence: bool = Field(False, description="whether models are told that responses are data, and where each one ends")
    confidence: Signal = Field("word", description="of `aggregate: weighted`: what says how sure a response is")
    substitute: dict[str, str] = Field(
        default_factory=dict, description="words of the responses to replace before they are aggregated, for controls"
    )

    @property
    def peers_needed(self) -> int:
        """``proposers``, where there is a layer that asks them."""
        return self.proposers if self.layers else 0

    @property
    def reach(self) -> Literal["all", "linked"]:
        return self.neighbours

    @property
    def last_layer(self) -> int:
        """The layer of the last call; layers count from 1."""
        return self.layers + min(1, self._last_calls)

    def calls(self, owner: Surroundings) -> tuple[int, int]:
        """(k + 1)·M, and 1 of a model that aggregates, or 1 for each half, at least and at most."""
        del owner
        count = (self.proposers + 1) * self.layers + self._last_calls
        return count, count

    def quoted(self, owner: Surroundings) -> int:
        """Those of a layer, or of half of it where that is all that is aggregated."""
        del owner
        if self.layers > 1 or (self.layers and self.aggregate == "model"):
            return self.proposers + 1
        return (self.proposers + 2) // 2 if self.layers and self.aggregate == "dropout" else 0

    def load(self, neighbours: Mapping[str, Sequence[str]]) -> Loads:
        """The calls that every node gets, by role: ``answer`` reads the prompt alone, ``aggregation`` responses, too.

        A node's own prompts bring it a call in each of the M layers, and the aggregation. A prompt of its neighbour j
        brings it one in each layer with the probability k/degⱼ. That is 1 + M + M·Σⱼ k/degⱼ calls; in neighbourhoods
        of one size, the (k + 1)·M + 1 of arXiv 2412.21200, theorem 1. All but those of layer 1 are aggregations.
        Where responses are counted, the last aggregation is missing.
        """
        asked = dict.fromkeys(neighbours, 0.0)  # calls of a layer that come from others
        for peers in neighbours.values():
            for peer in peers:
                asked[peer] += min(1.0, self.proposers / len(peers))
        return {node: self._load_of(calls) for node, calls in asked.items()}

    def _load_of(self, asked: float) -> dict[str, float]:
        first, later = (asked, (self.layers - 1) * asked) if self.layers else (0.0, 0.0)
        return {"answer": 1 + first, "aggregation": self.layers - 1 + self._last_calls + later}

    @property
    def _last_calls(self) -> int:
        """The calls after the last layer. Without layers, the owner's own answer."""
        if self.aggregate == "dropout" and self.layers:
            return self.subsets
        return 1 if self.aggregate == "model" or not self.layers else 0

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The owner's answer; raises JobError if its own model gives none."""
        call, responses = Call.of(prompt.text), list[Completion]()
        for layer in range(1, self.layers + 1):
            responses = await self._propose(prompt, call, owner)
            call = Call.of(self._aggregating(prompt, responses, owner), layer + 1, "aggregation")
        if self.aggregate == "dropout" and self.layers:
            return self._elected(await self._aggregated(prompt, responses, owner), "count", owner)
        if self._last_calls:
            return (await owner.complete(call)).text
        weigh: Weighing = "count" if self.aggregate == "vote" else "confidence"
        return self._elected(responses, weigh, owner)

    def _elected(self, responses: Sequence[Completion], weigh: Weighing, owner: Participant) -> str:
        tally = counted(responses, owner, weigh, self.confidence)
        owner.decide(None, score=tally.share, reason=f"votes: {tally}")
        return tally.leader.text

    def _aggregating(self, prompt: Prompt, responses: Sequence[Completion], owner: Participant) -> str:
        """The question with the responses, fenced or not."""
        texts = [response.text for response in responses]
        if not self.fence:
            return aggregation_prompt(prompt.text, texts)
        mark = f"response-{owner.random('fence', prompt.id).getrandbits(32):08x}"
        rule, texts = fenced(texts, mark)
        return aggregation_prompt(f"{rule}\n{prompt.text}", texts)

    async def _aggregated(
        self, prompt: Prompt, responses: Sequence[Completion], owner: Participant
    ) -> Sequence[Completion]:
        """What the owner's model makes of random halves of the responses: one that lies is missing from some.

        Votes over subsets are a defence of Wolf, Yoon and Bogunovic (arXiv 2503.05856).
        """
        draw, half = owner.random("subsets", prompt.id), (len(responses) + 1) // 2
        texts = [self._aggregating(prompt, draw.sample(responses, half), owner) for _ in range(self.subsets)]
        calls = [
            Call.of(text, self.layers + 1, "aggregation", f"half-{number}") for number, text in enumerate(texts, 1)
        ]
        return [await owner.complete(call) for call in calls]

    async def _propose(self, prompt: Prompt, call: Call, owner: Participant) -> list[Completion]:
        """The responses of one layer, the owner's first. Neighbours that fail or are late are left out.

        Raises JobError as soon as the owner's own model fails; calls to neighbours are cancelled then.
        """
        present = [peer for peer in owner.peers if peer.present]
        count = min(self.proposers, len(present))
        drawn = owner.random("proposers", prompt.id, call.layer).sample(present, count)
        own = asyncio.ensure_future(owner.complete(call))
        others = [asyncio.ensure_future(owner.complete(call, peer, self.timeout)) for peer in drawn]
        try:
            responses = [await own, *filter(None, [await _unless_it_fails(other) for other in others])]
        finally:
            for task in (own, *others):
                task.cancel()
            await asyncio.gather(own, *others, return_exceptions=True)
        return [replace(response, text=self._substituted(response.text)) for response in responses]

    def _substituted(self, response: str) -> str:
        return re.sub(r"\w+", lambda word: self.substitute.get(word[0], word[0]), response)


async def _unless_it_fails(completing: "asyncio.Future[Completion]") -> Completion | None:
    with suppress(JobError):
        return await completing
    return None
