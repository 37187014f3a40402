"""Routing: a score of the prompt alone decides which model answers (RouteLLM: Ong et al., arXiv 2406.18665).

prompt ─► score ─ below θ ─► weak stage ─► answer
            └─ at least θ ─► strong stage ─► answer
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from testbed.patterns.base import Mistake
from testbed.patterns.participant import Answer, JobError, Participant, Prompt, Surroundings
from testbed.patterns.vertical.base import Vertical
from testbed.patterns.vertical.outage import OutageError
from testbed.patterns.vertical.routers.rules import Rule


class Route(Vertical):
    """The first stage answers easy prompts, and the second one hard ones; a score tells them apart beforehand."""

    strong: Rule = Field(description="which prompts the second stage answers")

    def calls(self, owner: Surroundings) -> tuple[int, int] | None:
        """Those of one of the stages; of both where the one that was chosen fails, or under `policy: all`."""
        counts = [self.stage_calls(stage, owner) for stage in self.stages]
        known = [count for count in counts if count is not None]
        if len(known) < len(counts):
            return None
        least = [least for least, _ in known]
        return sum(least) if self.asks_all else min(least), sum(most for _, most in known)

    def mistakes(self, nodes: Mapping[str, Surroundings], owners: Sequence[str]) -> Iterator[Mistake]:
        """What in these options does not fit ``nodes``."""
        yield from super().mistakes(nodes, owners)
        if len(self.stages) != 2:
            yield ("stages",), f"{len(self.stages)} stages; route chooses between two, the weak one first"
        yield from ((("strong", *place), sentence) for place, sentence in self.strong.mistakes())

    @property
    def learns(self) -> bool:
        """Whether its rule does, or a stage."""
        return self.strong.learns or super().learns

    def learn(self, prompt: str, reward: float) -> None:
        """Take in how right the answer to a prompt was."""
        self.strong.learn(prompt, reward)
        super().learn(prompt, reward)

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The answer of the stage that the score chooses, or of the other if that one fails; raises JobError."""
        return (await self.respond(prompt, owner)).text

    async def respond(self, prompt: Prompt, owner: Participant) -> Answer:
        """The answer, with its share of the votes where the stage that gave it had a vote."""
        limits = self.limits(prompt, owner)
        choice = self.strong.choose(prompt, owner)
        chosen, other = (1, 0) if choice.strong else (0, 1)
        place, instead = self.place(chosen, owner), self.place(other, owner)
        owner.decide(
            place,
            score=choice.score,
            threshold=choice.threshold,
            propensity=choice.propensity,
            reason="strong" if choice.strong else "weak",
        )
        try:
            reply = await self.ask(chosen, owner, limits)
        except JobError as error:
            owner.decide(instead, source=place, reason=str(error))
            self.strong.forget(prompt.id)
            if isinstance(error, OutageError) and self.outage and self.outage.fallback == "fail":
                raise
            reply = await self.ask(other, owner, limits)
        else:
            await self.ask_besides([other], owner, limits)
        return Answer(reply.text, reply.votes)
