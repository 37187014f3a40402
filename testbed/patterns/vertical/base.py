"""The base of patterns over tiers: their options, and how a stage is asked."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, get_args

from pydantic import Field

from testbed.core.units import Duration
from testbed.patterns.base import Mistake, Pattern
from testbed.patterns.participant import Call, JobError, Participant, Peer, Prompt, Surroundings, Tier
from testbed.patterns.vertical.accepting import Reply
from testbed.patterns.vertical.budget import BudgetOptions, Ledger, askable
from testbed.patterns.vertical.limited import LimitedParticipant, Limits
from testbed.patterns.vertical.outage import OutageOptions, Watch
from testbed.patterns.vertical.privacy import Masks, PrivacyOptions
from testbed.patterns.vertical.stages import SELF, Delegation, Stage, node_of, stage_mistakes, title


class Vertical(Pattern):
    """A pattern whose stages stand in different tiers, from the weakest and cheapest to the strongest.

    It remembers from prompt to prompt which nodes are out of reach, and how fast each node was at best.
    """

    stages: list[Stage] = Field(min_length=1, description="self, nodes, {delegate: NODE}, or patterns")
    neighbours: Literal["all", "linked"] = Field("all", description="which nodes a stage can be")
    timeout: Duration = Field(60.0, gt=0, description="how long a call to another node may take")
    budget: BudgetOptions = BudgetOptions()
    privacy: PrivacyOptions | None = None
    outage: OutageOptions | None = None
    policy: Literal["chosen", "all"] = Field(
        "chosen", description="which stages answer a prompt: those that the rule chooses, or all, to fit a router on"
    )

    @cached_property
    def _watch(self) -> Watch:
        return Watch()

    @cached_property
    def _fastest(self) -> dict[str, float]:
        return {}

    @property
    def parts(self) -> Sequence[Pattern]:
        """The stages that are patterns."""
        return [stage for stage in self.stages if isinstance(stage, Pattern)]

    @property
    def reach(self) -> Literal["all", "linked"]:
        return self.neighbours

    @property
    def peers_needed(self) -> int:
        """Those that the stages' patterns need."""
        return max((part.peers_needed for part in self.parts), default=0)

    @property
    def last_layer(self) -> int:
        """Every stage has layers of its own, in the order of the stages."""
        return sum(map(_layers, self.stages))

    def owners(self, nodes: Mapping[str, Surroundings]) -> Sequence[str]:
        """The nodes of the nearest tier, without those that a stage names."""
        named = {node_of(stage) for stage in self.stages}
        left = {name: around.itself.tier for name, around in nodes.items() if name not in named}
        tiers = [tier for tier in left.values() if tier is not None]
        nearest = min(tiers, key=get_args(Tier).index, default=None)
        return [name for name, tier in left.items() if tier == nearest]

    def mistakes(self, nodes: Mapping[str, Surroundings], owners: Sequence[str]) -> Iterator[Mistake]:
        """What in these options does not fit ``nodes``, of which ``owners`` run the pattern."""
        for place, sentence in stage_mistakes(self.stages, nodes, owners):
            yield ("stages", *place), sentence
        for owner in owners[:1]:
            around = nodes[owner]
            asked = askable(
                [owner if stage == SELF else stage for stage in self.stages if isinstance(stage, str)], around
            )
            if len(asked) == len(self.stages):
                for place, sentence in self.budget.mistakes(asked, around.most_tokens):
                    yield ("budget", *place), sentence
                for place, sentence in self._privacy_mistakes(around, [node.tier for node in asked]):
                    yield ("privacy", *place), sentence

    def _privacy_mistakes(self, around: Surroundings, tiers: list[Tier | None]) -> Iterator[Mistake]:
        return iter(()) if self.privacy is None else self.privacy.mistakes(around, tiers)

    def stage_calls(self, stage: Stage, owner: Surroundings) -> tuple[int, int] | None:
        """The calls of one stage, at least and at most; None where its pattern does not say."""
        match stage:
            case Delegation():
                return 0, 0
            case Pattern():
                linked = [peer for peer in owner.peers if peer.linked or stage.reach != "linked"]
                return stage.calls(Surroundings(owner.itself, linked, owner.most_tokens))
            case _:
                return 1, 1

    def limits(self, prompt: Prompt, owner: Participant) -> Limits:
        """What holds of ``prompt`` from now on."""
        ledger = Ledger(self.budget.limits.within(prompt.budget))
        privacy = self.privacy or PrivacyOptions()
        tier = privacy.limit(prompt, owner.itself.tier)
        masks = None if self.privacy is None else Masks(privacy)
        hides = privacy.rewrite == "mask"
        return Limits(prompt, ledger, tier, masks, hides, self._watch, self.outage, self._fastest)

    async def ask(self, number: int, owner: Participant, limits: Limits) -> Reply:
        """The answer of the stage ``number``, counted from 0; raises JobError."""
        stage, prompt, participant = self.stages[number], limits.prompt, self.participant(number, owner, limits)
        if isinstance(stage, Pattern):
            answer = await stage.respond(prompt, participant)
            return Reply(answer.text, votes=answer.votes)
        peer = peer_called(node_of(stage), owner)
        if isinstance(stage, Delegation):
            assert peer is not None  # `self` is no name of a node
            return Reply(await participant.delegate(prompt, peer))
        completion = await participant.complete(Call.of(prompt.text), peer)
        return Reply(completion.text, completion)

    @property
    def asks_all(self) -> bool:
        """Whether every stage answers every prompt."""
        return self.policy == "all"

    async def ask_besides(self, numbers: Iterable[int], owner: Participant, limits: Limits) -> None:
        """Under ``policy: all``, have these stages answer, too. What they say is recorded and does not count."""
        for number in numbers if self.asks_all else ():
            try:
                await self.ask(number, owner, limits)
            except JobError as error:
                owner.decide(self.place(number, owner), reason=f"no answer beside the one that counts: {error}")

    def participant(self, number: int, owner: Participant, limits: Limits) -> LimitedParticipant:
        """The owner as the stage ``number`` sees it."""
        stage = self.stages[number]
        linked = isinstance(stage, Pattern) and stage.reach == "linked"
        layer = sum(map(_layers, self.stages[:number]))
        return LimitedParticipant(owner, limits, f"s{number + 1}", layer, linked, self.timeout)

    def place(self, number: int, owner: Participant) -> Peer:
        """The stage ``number`` in events: its node, or its kind."""
        name = title(self.stages[number], owner.name)
        return next((peer for peer in owner.peers if peer.name == name), Peer(name))


def peer_called(name: str | None, owner: Participant) -> Peer | None:
    """The peer of ``owner`` with this name, None for the owner itself; raises JobError if there is no such node."""
    if name is None or name == owner.name:
        return None
    for peer in owner.peers:
        if peer.name == name:
            return peer
    raise JobError(f"{owner.name} cannot call {name}")


def _layers(stage: Stage) -> int:
    return stage.last_layer if isinstance(stage, Pattern) else 1
