"""Routing: a score of the prompt alone decides which model answers (RouteLLM: Ong et al., arXiv 2406.18665).

prompt ─► score ─ below θ ─► weak stage ─► answer
            └─ at least θ ─► strong stage ─► answer
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from testbed.core.spec import Spec
from testbed.patterns.base import Mistake
from testbed.patterns.participant import Answer, JobError, Participant, Prompt, Surroundings
from testbed.patterns.vertical.base import Vertical
from testbed.patterns.vertical.outage import OutageError


class Routing(Spec):
    """The rule by which a prompt goes to the strong stage: its ``score`` is at least ``above``."""

    score: Literal["length", "random"] = Field(description="length: characters of the prompt; random: from 0 to 1")
    above: float = Field(ge=0, allow_inf_nan=False, description="the least score that goes to the strong stage")

    def of(self, prompt: Prompt, owner: Participant) -> float:
        """The score of ``prompt``."""
        if self.score == "length":
            return float(len(prompt.text))
        return owner.random("route", prompt.id).random()

    def propensity(self, strong: bool) -> float:
        """The probability of this decision."""
        if self.score == "length":
            return 1.0
        return 1.0 - self.above if strong else self.above


class Route(Vertical):
    """The first stage answers easy prompts, and the second one hard ones; a score tells them apart beforehand."""

    strong: Routing = Field(description="which prompts the second stage answers")

    def calls(self, owner: Surroundings) -> tuple[int, int] | None:
        """Those of one of the stages; of both where the one that was chosen fails."""
        counts = [self.stage_calls(stage, owner) for stage in self.stages]
        known = [count for count in counts if count is not None]
        if len(known) < len(counts):
            return None
        return min(least for least, _ in known), sum(most for _, most in known)

    def mistakes(self, nodes: Mapping[str, Surroundings], owners: Sequence[str]) -> Iterator[Mistake]:
        """What in these options does not fit ``nodes``."""
        yield from super().mistakes(nodes, owners)
        if len(self.stages) != 2:
            yield ("stages",), f"{len(self.stages)} stages; route chooses between two, the weak one first"
        if self.strong.score == "random" and self.strong.above > 1:
            yield ("strong", "above"), f"{self.strong.above:g} is no threshold of `random`, which is from 0 to 1"

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The answer of the stage that the score chooses, or of the other if that one fails; raises JobError."""
        return (await self.respond(prompt, owner)).text

    async def respond(self, prompt: Prompt, owner: Participant) -> Answer:
        """The answer, with its share of the votes where the stage that gave it had a vote."""
        limits = self.limits(prompt, owner)
        score = self.strong.of(prompt, owner)
        strong = score >= self.strong.above
        chosen, other = (1, 0) if strong else (0, 1)
        place, instead = self.place(chosen, owner), self.place(other, owner)
        owner.decide(
            place,
            score=score,
            threshold=self.strong.above,
            propensity=self.strong.propensity(strong),
            reason="strong" if strong else "weak",
        )
        try:
            reply = await self.ask(chosen, owner, limits)
        except JobError as error:
            owner.decide(instead, source=place, reason=str(error))
            if isinstance(error, OutageError) and self.outage and self.outage.fallback == "fail":
                raise
            reply = await self.ask(other, owner, limits)
        return Answer(reply.text, reply.votes)
