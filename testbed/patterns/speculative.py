"""Speculative decoding over a network (Leviathan, Kalman, Matias, arXiv 2211.17192), greedy.

    device: γ tokens ─► cloud: reads them as one batch ─► n of them hold, and one more ─► device: γ tokens ─► …

Every round brings n + 1 tokens, which are the cloud's own, for one message there and back. With the chance α that a
drafted token holds, that is E = (1 − α^(γ+1)) / (1 − α) tokens a round. Both models are greedy, so the answer is what
the cloud would have written alone. Their vocabularies must be equal.
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from testbed.patterns.base import Mistake
from testbed.patterns.participant import Call, JobError, Participant, Prompt, SamplingOverrides, Surroundings
from testbed.patterns.vertical.base import Vertical, peer_called
from testbed.patterns.vertical.limited import LimitedParticipant
from testbed.patterns.vertical.outage import OutageError
from testbed.patterns.vertical.stages import SELF, node_of

GREEDY = 0.0


class Speculative(Vertical):
    """The owner's model drafts tokens, and the second stage's model keeps those that it would have written itself."""

    draft: int = Field(4, ge=1, le=64, description="tokens that are drafted in each round, γ")

    @property
    def constrains(self) -> bool:
        """A draft is no whole answer."""
        return False

    def calls(self, owner: Surroundings) -> tuple[int, int]:
        """A draft and its verification in each round; every round brings a token at least."""
        return 1, 2 * owner.most_tokens + 1

    @property
    def last_layer(self) -> int:
        """Drafts and verifications are one layer."""
        return 1

    def mistakes(self, nodes: Mapping[str, Surroundings], owners: Sequence[str]) -> Iterator[Mistake]:
        """What in these options does not fit ``nodes``."""
        yield from super().mistakes(nodes, owners)
        if len(self.stages) != 2 or self.stages[0] != SELF or not isinstance(self.stages[1], str):
            yield ("stages",), "the stages are [self, NODE]: self drafts, and the node verifies"
        if self.privacy is not None and self.privacy.rewrite is not None:
            yield ("privacy", "rewrite"), "a masked prompt is another one to the node that verifies; leave it out"

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The answer of the second stage's model; the owner's own as soon as that fails. Raises JobError."""
        limits = self.limits(prompt, owner)
        participant = self.participant(0, owner, limits)
        tokens: list[int] = []
        try:
            await self._speculate(prompt, participant, tokens)
        except JobError as error:
            if isinstance(error, OutageError) and self.outage and self.outage.fallback == "fail":
                raise
            owner.decide(None, source=self.place(1, owner), reason=f"goes on alone: {error}")
            tokens += await self._rest(prompt, owner, tokens)
        return owner.text_of(tokens)

    async def _speculate(self, prompt: Prompt, participant: LimitedParticipant, tokens: list[int]) -> None:
        """Write the answer into ``tokens``; raises JobError with what holds so far in there."""
        peer = peer_called(node_of(self.stages[1]), participant)
        assert peer is not None  # `self` is no name of a node
        most, number = participant.most_tokens, 0
        while len(tokens) < most:
            number += 1
            count = min(self.draft, most - len(tokens))
            call = _call(prompt, f"draft-{number}", "draft", tokens, count)
            drafted = (await participant.complete(call)).token_ids
            if not drafted:
                # A draft must have a token, whatever the cloud says of it: any will do.
                drafted = (0,)
            tried = [*tokens, *drafted]
            verification = await participant.verify(
                _call(prompt, f"verify-{number}", "verification", [], most), tried, peer
            )
            accepted = verification.accepted - len(tokens)
            participant.decide(
                peer, score=float(accepted), threshold=float(len(drafted)), reason=f"verified from {len(tokens)}"
            )
            tokens[:] = tried[: verification.accepted]
            if verification.next is None:
                return
            tokens.append(verification.next)
        del tokens[most:]

    async def _rest(self, prompt: Prompt, owner: Participant, tokens: Sequence[int]) -> Sequence[int]:
        """The rest of an answer by the owner's own model."""
        left = owner.most_tokens - len(tokens)
        if left < 1:
            return ()
        return (await owner.complete(_call(prompt, "alone", "answer", tokens, left))).token_ids


def _call(prompt: Prompt, id: str, role: str, begun: Sequence[int], most: int) -> Call:
    sampling = SamplingOverrides(temperature=GREEDY, max_tokens=most)
    return Call([{"role": "user", "content": prompt.text}], role=role, id=id, sampling=sampling, begun=tuple(begun))
