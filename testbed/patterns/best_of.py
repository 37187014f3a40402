"""Best-of-n: several answers, of which the one that its model is surest of wins, or the one that a judge prefers.

A prompt costs n·s inferences; with `rank: pairwise` one more for each comparison of two different answers, at most
n·s − 1.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydantic import Field

from testbed.core.units import Duration
from testbed.patterns.base import Loads
from testbed.patterns.horizontal.panel import (
    Members,
    PanelPattern,
    ask,
    asked_per_arrival,
    member_names,
    present_members,
)
from testbed.patterns.participant import Call, Completion, Participant, Prompt, Surroundings
from testbed.patterns.signals import Signal, signal_of

_PREFERRED: Final = re.compile(r"\b([AB])\b")


class BestOf(PanelPattern):
    """The members answer, some of them several times, and the best answer alone counts."""

    members: Members = Field("self", description="who answers: self, all or linked, or a list of nodes")
    samples: int = Field(1, ge=1, description="answers of each member")
    rank: Literal["confidence", "pairwise"] = Field(
        "confidence", description="how sure an answer is, or the owner's model, which compares two answers at a time"
    )
    confidence: Signal = Field("mean", description="of `rank: confidence`: what says how sure an answer is")
    timeout: Duration = Field(10.0, description="how long each member has to answer")

    @property
    def last_layer(self) -> int:
        """The comparisons are a layer of their own."""
        return 2 if self.rank == "pairwise" else 1

    def calls(self, owner: Surroundings) -> tuple[int, int]:
        """n·s; with pairwise ranking up to n·s − 1 more."""
        count = len(member_names(self.members, owner)) * self.samples
        return count, (2 * count - 1 if self.rank == "pairwise" else count)

    def load(self, neighbours: Mapping[str, Sequence[str]]) -> Loads | None:
        """s calls for every owner on whose panel a node is; unknown with pairwise ranking."""
        if self.rank == "pairwise":
            return None
        asked = asked_per_arrival(self.members, neighbours)
        return {node: {"answer": self.samples * asked[node]} for node in neighbours}

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The best answer, of equal ones the earliest; raises JobError if no member answers."""
        panel = present_members(self.members, owner)
        calls = [
            (member, Call.of(prompt.text, id=str(sample))) for sample in range(1, self.samples + 1) for member in panel
        ]
        answers = [answer for answer in await ask(owner, calls, self.timeout) if answer is not None]
        if self.rank == "pairwise":
            return await self._preferred(prompt, answers, owner)
        best = max(answers, key=lambda answer: signal_of(answer, self.confidence))
        owner.decide(None, score=signal_of(best, self.confidence), reason=f"surest of {len(answers)} answers")
        return best.text

    async def _preferred(self, prompt: Prompt, answers: Sequence[Completion], owner: Participant) -> str:
        """The answer that is left when each challenges the best so far, which keeps its place unless B is preferred."""
        best, *others = answers
        for number, challenger in enumerate(others, 1):
            if owner.normalised(challenger.text) == owner.normalised(best.text):
                continue
            text = comparison_prompt(prompt.text, best.text, challenger.text)
            said = (await owner.complete(Call.of(text, 2, "comparison", f"compare-{number}"))).text
            preferred = _PREFERRED.search(said)
            best = challenger if preferred and preferred[1] == "B" else best
        owner.decide(None, reason=f"preferred of {len(answers)} answers")
        return best.text


def comparison_prompt(question: str, first: str, second: str) -> str:
    """The question, two answers, and what to reply."""
    return f"{question}\nA: {first}\nB: {second}\nWhich answer is better? Reply with A or B alone."
