"""Multi-agent debate (Du, Li, Torralba, Tenenbaum, Mordatch, arXiv 2305.14325), led by the owner.

    round 0         owner ─── question ──────────────► every member: its opinion
    round 1 … R     owner ─── question, own opinion ─► every member: its opinion, perhaps another
                              and those it reads
    then            the opinion with the most votes is the answer

A prompt costs n·(R + 1) inferences. The owner asks each member, so there are 2·(n − 1)·(R + 1) messages. A member reads
the opinions of d others in each further round: n·d·R opinions in all, where d is n − 1, or the member's links on the
panel with `read: linked`, the sparse debate of Li et al., arXiv 2406.11776.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from testbed.core.units import Duration
from testbed.patterns.base import Loads
from testbed.patterns.horizontal.aggregation import aggregation_prompt
from testbed.patterns.horizontal.ballots import Weighing, counted
from testbed.patterns.horizontal.panel import (
    Member,
    Members,
    PanelPattern,
    ask,
    asked_per_arrival,
    member_names,
    present_members,
)
from testbed.patterns.participant import Answer, Call, Completion, Participant, Prompt, Surroundings
from testbed.patterns.signals import Signal

Opinions = Mapping[Member, Completion]


class Debate(PanelPattern):
    """The members answer, read each other's answers and answer again; after the last round they vote."""

    members: Members = Field("all", description="who debates: self, all or linked, or a list of nodes")
    rounds: int = Field(1, ge=0, description="how often the members read and answer again")
    read: Literal["all", "linked"] = Field(
        "all", description="whose opinions a member reads: all others' on the panel, or those of the nodes linked to it"
    )
    stop: Literal["unanimous"] | None = Field(None, description="unanimous: end once all members say the same")
    weigh: Weighing = Field("count", description="what a vote weighs in the end: 1, or how sure its opinion is")
    confidence: Signal = Field("word", description="of `weigh: confidence`: what says how sure an opinion is")
    timeout: Duration = Field(10.0, description="how long a round waits for its members")

    @property
    def last_layer(self) -> int:
        """Every round is a layer, which count from 1."""
        return self.rounds + 1

    def calls(self, owner: Surroundings) -> tuple[int, int]:
        """n·(R + 1); at least n where a unanimous panel ends the debate."""
        count = len(member_names(self.members, owner))
        return (count if self.stop else count * (self.rounds + 1)), count * (self.rounds + 1)

    def quoted(self, owner: Surroundings) -> int:
        """Those of the panel; a member's own alone where it reads those of its links, which the owner does not know."""
        panel = len(member_names(self.members, owner)) if self.read == "all" else 1
        return panel if self.rounds else 0

    def load(self, neighbours: Mapping[str, Sequence[str]]) -> Loads | None:
        """One answer and R aggregations for every owner on whose panel a node is; unknown with ``stop``."""
        if self.stop:
            return None
        asked = asked_per_arrival(self.members, neighbours)
        return {node: {"answer": asked[node], "aggregation": self.rounds * asked[node]} for node in neighbours}

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The text of :meth:`respond`; raises JobError."""
        return (await self.respond(prompt, owner)).text

    async def respond(self, prompt: Prompt, owner: Participant) -> Answer:
        """The opinion with the most votes after the last round; raises JobError if nobody has one."""
        panel, opinions = present_members(self.members, owner), dict[Member, Completion]()
        for layer in range(1, self.rounds + 2):
            calls = [(member, self._call(prompt.text, member, opinions, layer, owner)) for member in panel]
            said = await ask(owner, calls, self.timeout)
            opinions |= {member: one for member, one in zip(panel, said, strict=True) if one is not None}
            tally = counted(opinions.values(), owner, self.weigh, self.confidence)
            if self.stop and tally.unanimous:
                break
        owner.decide(None, score=tally.share, reason=f"votes after {layer - 1} rounds: {tally}")
        return Answer(tally.leader.text, tally.share)

    def _call(self, question: str, member: Member, opinions: Opinions, layer: int, owner: Participant) -> Call:
        """The question, in further rounds with the member's own opinion and those that it reads."""
        read = [other for other in opinions if other != member and self._reads(member, other, owner)]
        texts = [opinions[one].text for one in (member, *read) if one in opinions]
        if not texts:
            return Call.of(question, layer)
        return Call.of(aggregation_prompt(question, texts), layer, "aggregation")

    def _reads(self, member: Member, other: Member, owner: Participant) -> bool:
        if self.read == "all":
            return True
        return other.name in (member.peer or owner.itself).links
