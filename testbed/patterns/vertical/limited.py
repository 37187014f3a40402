"""A participant that keeps a prompt within its budget and its privacy, whatever pattern uses it."""

import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from testbed.patterns.participant import (
    Call,
    ChatMessage,
    Claim,
    Completion,
    JobError,
    Participant,
    Peer,
    Prompt,
    Record,
    Tier,
    Verification,
)
from testbed.patterns.vertical.budget import Ledger
from testbed.patterns.vertical.outage import OutageError, OutageOptions, Watch
from testbed.patterns.vertical.privacy import Masks, crosses, reaches

_Result = TypeVar("_Result")


class PrivacyError(JobError):
    """A call would take a prompt farther than it may go, so it is not made."""


@dataclass(frozen=True)
class Limits:
    """What holds of one prompt in all its stages.

    ``tier`` is the farthest that may read it, None if every tier may. ``masks`` hide its secrets; without them, and
    without ``tier``, nothing is disclosed. ``fastest`` has by node the shortest time of an answer so far.
    """

    prompt: Prompt
    ledger: Ledger
    tier: Tier | None
    masks: Masks | None
    hides: bool
    watch: Watch
    outage: OutageOptions | None
    fastest: dict[str, float]


class LimitedParticipant:
    """The owner of a prompt during one stage, whose calls are told from those of others by ``prefix`` and layer."""

    def __init__(
        self, owner: Participant, limits: Limits, prefix: str, layer: int, linked: bool, timeout: float
    ) -> None:
        self._owner = owner
        self._limits = limits
        self._prefix = prefix
        self._layer = layer
        self._linked = linked
        self._timeout = timeout

    @property
    def name(self) -> str:
        """The node's own name."""
        return self._owner.name

    @property
    def itself(self) -> Peer:
        """The node's own model, tier and price."""
        return self._owner.itself

    @property
    def most_tokens(self) -> int:
        """The most tokens that a call writes unless it says otherwise."""
        return self._owner.most_tokens

    @property
    def peers(self) -> Sequence[Peer]:
        """The nodes that the stage's pattern may call."""
        return [peer for peer in self._owner.peers if peer.linked or not self._linked]

    def random(self, *names: object) -> random.Random:
        """A generator for the subject ``names`` of this stage."""
        return self._owner.random(self._prefix, *names)

    def normalised(self, answer: str) -> str:
        """The normal form in which answers are compared."""
        return self._owner.normalised(answer)

    async def complete(self, call: Call, at: Peer | None = None, timeout: float | None = None) -> Completion:
        """The completion of ``call``; raises JobError, a BudgetError or a PrivacyError before it is made."""
        limits, node = self._limits, at or self.itself
        call = replace(call, layer=call.layer + self._layer, id=f"{self._prefix}-{call.name}")
        call = self._permitted(call, node)
        least = limits.fastest.get(node.name, 0.0)
        reservation = limits.ledger.reserve(call, node, self.most_tokens, least)
        completion = await self._guarded(self._owner.complete(call, at, self._within(timeout, at)), at)
        reservation.settle(completion)
        limits.fastest[node.name] = min(completion.seconds, limits.fastest.get(node.name, completion.seconds))
        text = completion.text if limits.masks is None else limits.masks.restore(completion.text)
        return replace(completion, text=text)

    async def room(self, call: Call, at: Peer | None = None, timeout: float | None = None) -> int:
        """How many tokens an answer to ``call`` can have; raises JobError, or a PrivacyError before it is asked."""
        call = self._permitted(call, at or self.itself)
        return await self._guarded(self._owner.room(call, at, self._within(timeout, at)), at)

    async def delegate(self, prompt: Prompt, at: Peer, timeout: float | None = None) -> str:
        """The answer that ``at`` finds with its own pattern, within what is left; raises JobError."""
        limits = self._limits
        sent = self._permitted(Call.of(prompt.text), at).messages[0]["content"]
        left = replace(prompt, text=sent, budget=limits.ledger.left.within(prompt.budget), privacy=limits.tier)
        text = await self._guarded(self._owner.delegate(left, at, self._within(timeout, at)), at)
        return text if limits.masks is None else limits.masks.restore(text)

    async def verify(self, call: Call, tokens: Sequence[int], at: Peer, timeout: float | None = None) -> Verification:
        """How much of an answer the model of ``at`` would have written; raises JobError."""
        limits = self._limits
        call = replace(call, layer=call.layer + self._layer, id=f"{self._prefix}-{call.name}")
        call = self._permitted(call, at)
        reservation = limits.ledger.reserve(
            replace(call, sampling=replace(call.sampling, max_tokens=len(tokens) + 1)), at, self.most_tokens, 0.0
        )
        verification = await self._guarded(self._owner.verify(call, tokens, at, self._within(timeout, at)), at)
        read = verification.prompt_tokens + len(tokens)
        reservation.settle(Completion("", read, 1, True))
        return verification

    def text_of(self, tokens: Sequence[int]) -> str:
        """What an answer of these tokens says."""
        return self._owner.text_of(tokens)

    async def reaches(self, peer: Peer, timeout: float) -> bool:
        """Whether ``peer`` answers within ``timeout`` seconds."""
        return await self._owner.reaches(peer, timeout)

    def disclose(self, to: Peer, text: str, *, masked: int, exposed: int) -> None:
        """Record what leaves the tier."""
        self._owner.disclose(to, text, masked=masked, exposed=exposed)

    def check(self, claims: Sequence[Claim]) -> None:
        """Have the run judge answers."""
        self._owner.check(claims)

    def record(self, node: str) -> Record:
        """How the checked answers of ``node`` came out."""
        return self._owner.record(node)

    def exclude(self, nodes: Sequence[str]) -> None:
        """Record that the answers of ``nodes`` count for nothing."""
        self._owner.exclude(nodes)

    def decide(
        self,
        to: Peer | None,
        *,
        source: Peer | None = None,
        score: float | None = None,
        threshold: float | None = None,
        propensity: float | None = None,
        reason: str = "",
    ) -> None:
        """Record a decision of the stage's pattern."""
        self._owner.decide(to, source=source, score=score, threshold=threshold, propensity=propensity, reason=reason)

    def _permitted(self, call: Call, node: Peer) -> Call:
        """``call`` as ``node`` may read it; raises PrivacyError."""
        limits = self._limits
        if node.name != self.name and not reaches(limits.tier, node.tier):
            raise PrivacyError(f"the prompt must not leave the tier {limits.tier}, and {node.name} is beyond")
        masks = limits.masks
        if masks is None or not crosses(self.itself, node):
            return call
        if limits.hides:
            hidden = [_with_content(message, masks.hide(message["content"])) for message in call.messages]
            call = replace(call, messages=hidden)
        text = "\n".join(message["content"] for message in call.messages)
        self.disclose(node, text, masked=masks.count, exposed=masks.exposed(text, limits.prompt.text))
        return call

    async def _guarded(self, work: Coroutine[Any, Any, _Result], at: Peer | None) -> _Result:
        limits = self._limits
        if at is None or limits.outage is None:
            return await work
        if limits.watch.is_out(at.name) or not at.present:
            work.close()
            raise OutageError(f"{at.name} cannot be reached")
        return await limits.watch.guard(work, at, self._owner, limits.outage)

    def _within(self, timeout: float | None, at: Peer | None) -> float | None:
        """The seconds that a call has; the stage's time is for other nodes, since without its own a prompt has none."""
        limits = (timeout, None if at is None else self._timeout, self._limits.ledger.left.seconds)
        return min((limit for limit in limits if limit is not None), default=None)


def _with_content(message: ChatMessage, content: str) -> ChatMessage:
    return {"role": message["role"], "content": content}
