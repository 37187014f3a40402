"""A cascade of models (FrugalGPT: Chen, Zaharia, Zou, arXiv 2305.05176; AutoMix: Aggarwal et al., arXiv 2310.12963).

    prompt ─► stage 1 ─ sure ─► answer
                 └─ not sure ─► stage 2 ─ sure ─► answer
                                   └─ not sure ─► … ─► last stage ─► answer

Every stage costs what came before it, too. A stage that fails, is out of reach, or would break the budget or the
prompt's privacy is passed over; what ends the cascade then is the best answer so far.
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from testbed.patterns.base import Mistake
from testbed.patterns.participant import Answer, Call, JobError, Participant, Peer, Prompt, Surroundings
from testbed.patterns.vertical.accepting import Acceptance, Reply
from testbed.patterns.vertical.base import Vertical, peer_called
from testbed.patterns.vertical.limited import Limits
from testbed.patterns.vertical.outage import OutageError
from testbed.patterns.vertical.stages import node_of

JUDGE = "Question: {question}\nAnswer: {answer}\nIs this answer correct? Say yes or no."
"""What ``verify`` asks a model about its own answer."""


class Cascade(Vertical):
    """Stage after stage answers, until an answer is accepted; the last stage's is accepted in any case."""

    accept: Acceptance = Field(description="the rule by which the answer of a stage that is not the last is accepted")

    def calls(self, owner: Surroundings) -> tuple[int, int] | None:
        """At least those of the first stage and of its judgement, at most those of all; under `policy: all` all.

        A budget, privacy and outages can leave the first stage out.
        """
        counts = [self.stage_calls(stage, owner) for stage in self.stages]
        known = [count for count in counts if count is not None]
        if len(known) < len(counts):
            return None
        checks = self.accept.checks
        most = sum(most for _, most in known) + checks * (len(known) - 1)
        if self.privacy or self.outage or self.budget.limits != type(self.budget)().limits:
            return min(least for least, _ in known), most
        asked = known if self.asks_all else known[:1]
        return sum(least for least, _ in asked) + (checks if len(known) > 1 else 0), most

    def mistakes(self, nodes: Mapping[str, Surroundings], owners: Sequence[str]) -> Iterator[Mistake]:
        """What in these options does not fit ``nodes``."""
        yield from super().mistakes(nodes, owners)
        for place, sentence in self.accept.mistakes(self.stages):
            yield ("accept", *place), sentence

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The first accepted answer, or the best so far; raises JobError if there is none."""
        return (await self.respond(prompt, owner)).text

    async def respond(self, prompt: Prompt, owner: Participant) -> Answer:
        """The answer, with its share of the votes where the stage that gave it had a vote."""
        limits = self.limits(prompt, owner)
        best: tuple[float, Reply, Peer] | None = None
        failures: list[str] = []
        last = len(self.stages) - 1
        for number in range(len(self.stages)):
            here = self.place(number, owner)
            onward = self.place(min(number + 1, last), owner)
            try:
                reply = await self.ask(number, owner, limits)
            except JobError as error:
                failures.append(str(error))
                owner.decide(onward, source=here, reason=f"{_cause(error)}: {error}")
                if isinstance(error, OutageError) and self.outage and self.outage.fallback == "fail":
                    raise
                continue
            if number == last:
                owner.decide(here, source=here, reason="last")
                return Answer(reply.text, reply.votes)
            score, threshold = await self._score(number, reply, owner, limits), self.accept.threshold(number)
            accepted = score is not None and score >= threshold
            to, reason = (here, "accepted") if accepted else (onward, "not accepted")
            owner.decide(to, source=here, score=score, threshold=threshold, reason=reason)
            if accepted:
                await self.ask_besides(range(number + 1, len(self.stages)), owner, limits)
                return Answer(reply.text, reply.votes)
            rank = float("-inf") if score is None else score
            if best is None or rank > best[0]:
                best = rank, reply, here
        if best is None:
            raise JobError("; ".join(failures))
        owner.decide(best[2], source=self.place(last, owner), score=best[0], reason="best so far")
        return Answer(best[1].text, best[1].votes)

    async def _score(self, number: int, reply: Reply, owner: Participant, limits: Limits) -> float | None:
        """The signal of a reply; None if its judgement would break the budget, or fails."""
        try:
            if self.accept.signal == "verify":
                return await self._verified(number, reply, owner, limits)
            if self.accept.signal == "router":
                return self.accept.sufficiency(limits.prompt.text, reply)
            return reply.signal(self.accept.signal)
        except JobError as error:
            here = self.place(number, owner)
            owner.decide(here, source=here, reason=f"no {self.accept.signal}: {error}")
            return None

    async def _verified(self, number: int, reply: Reply, owner: Participant, limits: Limits) -> float:
        """The share of its judgements by which the stage's own model takes its answer for correct."""
        stage, participant = self.stages[number], self.participant(number, owner, limits)
        peer = peer_called(node_of(stage), owner)
        question = JUDGE.format(question=limits.prompt.text, answer=reply.text)
        calls = [
            Call.of(question, role="verification", id=f"verify-{time}") for time in range(1, self.accept.times + 1)
        ]
        judgements = [await participant.complete(call, peer) for call in calls]
        return sum(judgement.text.strip().lower().startswith("yes") for judgement in judgements) / len(judgements)


def _cause(error: JobError) -> str:
    return type(error).__name__.removesuffix("Error").lower().replace("job", "failed")
