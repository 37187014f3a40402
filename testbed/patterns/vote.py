"""A vote of several nodes or of several samples: self-consistency, ensembles, and their early end.

    owner ─┬─ member 1 ─ s samples ─┐
           ├─ member 2 ─ s samples ─┼─ equal answers add up; the weightiest one wins
           └─ …                     ┘

With `members: self` it is self-consistency (Wang et al., arXiv 2203.11171); with `stop`, Adaptive-Consistency (Aggarwal
et al., arXiv 2305.11860). A prompt costs n·s inferences, with `stop` at most.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from testbed.core.units import Duration, Share
from testbed.patterns.base import Loads
from testbed.patterns.horizontal.ballots import Ballot, Tally, Weighing, Winning, central, counted
from testbed.patterns.horizontal.panel import (
    Member,
    Members,
    PanelPattern,
    ask,
    ask_one,
    asked_per_arrival,
    member_names,
    nobody,
    present_members,
)
from testbed.patterns.horizontal.trust import check, excluded, trusted
from testbed.patterns.participant import Answer, Call, Completion, Participant, Prompt, Surroundings
from testbed.patterns.signals import Signal


class Vote(PanelPattern):
    """The members answer, some of them several times, and the answer with the most votes wins."""

    members: Members = Field("all", description="who votes: self, all or linked, or a list of nodes")
    samples: int = Field(1, ge=1, description="answers of each member")
    weigh: Weighing | Literal["trust"] = Field(
        "count",
        description="what a vote weighs: 1, or how sure its answer is; by `trust` also how its node's checked answers "
        "came out",
    )
    winner: Winning = Field(
        "plurality",
        description="which answer wins: the one with the most votes; of numbers, the weighted `median`, or their "
        "weighted mean without the lowest and the highest quarter, `trimmed-mean`",
    )
    confidence: Signal = Field(
        "word", description="of `weigh: confidence` and `trust`: what says how sure an answer is"
    )
    check: Share = Field(0.25, description="of `weigh: trust`: share of prompts whose answers are checked")
    stop: float | None = Field(
        None,
        gt=0.5,
        lt=1,
        description="ask one after the other, and end once the leader stays ahead with this probability",
    )
    timeout: Duration = Field(10.0, description="how long each member has to answer")

    def calls(self, owner: Surroundings) -> tuple[int, int]:
        """n·s; with ``stop`` at most."""
        most = len(member_names(self.members, owner)) * self.samples
        return (most if self.stop is None else 1), most

    def load(self, neighbours: Mapping[str, Sequence[str]]) -> Loads | None:
        """s calls for every owner on whose panel a node is; unknown with ``stop``."""
        if self.stop is not None:
            return None
        asked = asked_per_arrival(self.members, neighbours)
        return {node: {"answer": self.samples * asked[node]} for node in neighbours}

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The text of :meth:`respond`; raises JobError."""
        return (await self.respond(prompt, owner)).text

    async def respond(self, prompt: Prompt, owner: Participant) -> Answer:
        """The winner's weightiest answer and its share of the votes; raises JobError if no member answers."""
        panel = present_members(self.members, owner)
        calls = [
            (member, Call.of(prompt.text, id=str(sample))) for sample in range(1, self.samples + 1) for member in panel
        ]
        completions = await (
            self._all(calls, owner) if self.stop is None else self._one_by_one(calls, self.stop, owner)
        )
        ballots = self._ballots(completions, owner)
        tally = self._tally(ballots, owner)
        if self.weigh == "trust":
            check(ballots, prompt, owner, self.check)
            owner.exclude(excluded(ballots, owner))
        owner.decide(None, score=tally.share, threshold=self.stop, reason=f"votes: {tally}")
        if self.winner == "plurality":
            return Answer(tally.leader.text, tally.share)
        return Answer(central(tally.ballots, self.winner))

    async def _all(self, calls: Sequence[tuple[Member, Call]], owner: Participant) -> list[Completion]:
        completions = await ask(owner, calls, self.timeout)
        return [one for one in completions if one is not None]

    async def _one_by_one(
        self, calls: Sequence[tuple[Member, Call]], enough: float, owner: Participant
    ) -> list[Completion]:
        """The answers until the leader is likely ``enough`` to stay ahead."""
        answers: list[Completion] = []
        for member, call in calls:
            answer = await ask_one(owner, member, call, self.timeout)
            answers += [answer] if answer else []
            if self._tally(self._ballots(answers, owner), owner).lead >= enough:
                break
        if not answers:
            raise nobody(calls)
        return answers

    def _ballots(self, answers: Sequence[Completion], owner: Participant) -> Sequence[Ballot]:
        weigh: Weighing = "confidence" if self.weigh == "trust" else self.weigh
        return counted(answers, owner, weigh, self.confidence).ballots

    def _tally(self, ballots: Sequence[Ballot], owner: Participant) -> Tally:
        return trusted(ballots, owner) if self.weigh == "trust" else Tally(ballots)
