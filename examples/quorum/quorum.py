"""A vote among nodes that ends as soon as it is decided."""

import asyncio
from collections import Counter

from pydantic import Field

from testbed.core.units import Duration
from testbed.patterns.base import Pattern
from testbed.patterns.participant import Call, JobError, Participant, Prompt, Surroundings


class Quorum(Pattern):
    """The owner and some peers answer side by side; the first answer that enough of them give wins."""

    voters: int = Field(3, ge=1, description="peers that are asked, besides the owner")
    votes: int = Field(2, ge=1, description="equal answers that decide")
    timeout: Duration = Field(10.0, description="how long each peer has to answer")

    @property
    def peers_needed(self) -> int:
        """All voters must be there to be drawn."""
        return self.voters

    def calls(self, owner: Surroundings) -> tuple[int, int]:
        """At least those that decide; at most one of every voter."""
        del owner
        return min(self.votes, self.voters + 1), self.voters + 1

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The winner; without one, an answer that got the most votes. Raises JobError if every node fails."""
        present = [peer for peer in owner.peers if peer.present]
        drawn = owner.random("voters", prompt.id).sample(present, min(self.voters, len(present)))
        call = Call.of(prompt.text)
        completions = [owner.complete(call), *(owner.complete(call, peer, self.timeout) for peer in drawn)]
        tasks = [asyncio.ensure_future(completion) for completion in completions]
        count: Counter[str] = Counter()
        try:
            for finished in asyncio.as_completed(tasks):
                try:
                    ballot = (await finished).text.partition(",")[0].strip()  # "Kabuburg, sure" votes for Kabuburg
                except JobError:
                    continue
                count[ballot] += 1
                if count[ballot] == self.votes:
                    return ballot
        finally:
            for task in tasks:
                task.cancel()  # takes a call out of its queue if the inference has not begun
        if not count:
            raise JobError("no voter answered")
        return count.most_common(1)[0][0]
