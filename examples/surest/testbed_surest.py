"""Model after model, as in a cascade (FrugalGPT: Chen, Zaharia, Zou, arXiv 2305.05176)."""

from pydantic import Field

from testbed.core.units import Duration
from testbed.patterns.base import Pattern
from testbed.patterns.participant import Call, Completion, JobError, Participant, Prompt, Surroundings


class Surest(Pattern):
    """One node after another answers, the owner first, until one is sure; if none is, the surest answer counts."""

    threshold: float = Field(-0.5, le=0, description="mean log-probability of an answer's tokens that counts as sure")
    steps: int = Field(2, ge=1, description="most nodes that answer, the owner included")
    timeout: Duration = Field(10.0, description="how long each node has to answer")

    @property
    def peers_needed(self) -> int:
        """One peer for each step but the owner's."""
        return self.steps - 1

    @property
    def last_layer(self) -> int:
        """Every step is a layer, so that a fault can wait for it: ``in: {layer: 2}``."""
        return self.steps

    def calls(self, owner: Surroundings) -> tuple[int, int]:
        """One if the owner is sure, one of every step if nobody is."""
        del owner
        return 1, self.steps

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The first sure answer, or the surest. Raises JobError if every node fails."""
        answers: list[Completion] = []
        peers = [None, *(peer for peer in owner.peers if peer.present)]
        for step, peer in enumerate(peers[: self.steps], 1):
            if peer is not None:
                owner.decide(peer, threshold=self.threshold, score=max(map(sureness, answers), default=None))
            try:
                answers.append(await owner.complete(Call.of(prompt.text, layer=step), peer, self.timeout))
            except JobError:
                continue
            if sureness(answers[-1]) >= self.threshold:
                break
        if not answers:
            raise JobError("no node answered")
        return max(answers, key=sureness).text


def sureness(answer: Completion) -> float:
    """The mean log-probability of the answer's tokens; minus infinity if the model does not tell."""
    return answer.logprobs.mean if answer.logprobs else float("-inf")
