"""A leader and its workers: the leader splits a prompt, the workers answer its parts, the leader merges their answers.

    owner, the leader ── split ──┬─ part 1 ─► worker 1 ─┐
                                 ├─ part 2 ─► worker 2 ─┼─ owner's model reads all answers: the answer
                                 └─ …                   ┘

A prompt costs workers + 1 inferences, and one more if the leader's model splits. A worker without a part is not asked.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from pydantic import Field

from testbed.core.units import Duration
from testbed.patterns.base import Loads, Mistake, Pattern
from testbed.patterns.horizontal.aggregation import aggregation_prompt
from testbed.patterns.horizontal.panel import (
    SELF,
    Members,
    ask,
    member_mistakes,
    member_names,
    present_members,
    reach_of,
)
from testbed.patterns.participant import Call, Participant, Peer, Prompt, Surroundings

_SENTENCE_END: Final = re.compile(r"(?<=[.?!])\s+")


class Hierarchy(Pattern):
    """The owner of a prompt leads: it splits the prompt among workers and merges what they answer."""

    workers: Members = Field("all", description="who works: all or linked nodes besides the owner, or a list of nodes")
    leader: str | None = Field(None, description="the node that prompts arrive at; any node if left out")
    split: Literal["none", "lines", "sentences", "model"] = Field(
        "none",
        description="what each worker gets: the whole prompt, some of its lines or sentences, or some of the "
        "sub-questions that the leader's model writes, one a line",
    )
    timeout: Duration = Field(10.0, description="how long each worker has to answer")

    @property
    def peers_needed(self) -> int:
        """One, where a keyword names the workers."""
        return 0 if isinstance(self.workers, list) or self.workers == SELF else 1

    @property
    def reach(self) -> Literal["all", "linked"]:
        return reach_of(self.workers)

    @property
    def constrains(self) -> bool:
        """A part of a question has neither its choices nor its length."""
        return self.split == "none"

    @property
    def last_layer(self) -> int:
        """The layer in which the leader merges: layer 1 is the split of a model."""
        return self._first_layer + 1

    def calls(self, owner: Surroundings) -> tuple[int, int]:
        """Workers + 1, and 1 of a model that splits. At least one worker has a part of a prompt that is split."""
        workers, splits = len(self._workers(owner)), int(self.split == "model")
        return (workers if self.split == "none" else 1) + 1 + splits, workers + 1 + splits

    def quoted(self, owner: Surroundings) -> int:
        """Those of all workers."""
        return len(self._workers(owner))

    def load(self, neighbours: Mapping[str, Sequence[str]]) -> Loads | None:
        """A call for each owner that a node works for, and a merging one of its own; unknown where parts vary."""
        if self.split != "none":
            return None
        owners = list(neighbours) if self.leader is None else [self.leader]
        around = {owner: Surroundings(Peer(owner), [Peer(peer) for peer in neighbours[owner]]) for owner in owners}
        led = {owner: self._workers(around[owner]) for owner in owners}
        return {
            node: {"answer": sum(node in workers for workers in led.values()), "aggregation": int(node in owners)}
            for node in neighbours
        }

    def owners(self, nodes: Mapping[str, Surroundings]) -> Sequence[str]:
        """The leader; without one, every node."""
        return list(nodes) if self.leader is None else [self.leader]

    def mistakes(self, nodes: Mapping[str, Surroundings], owners: Sequence[str]) -> Iterator[Mistake]:
        """Workers and leaders that the topology's ``nodes`` lack."""
        del owners
        yield from member_mistakes("workers", self.workers, nodes)
        if self.leader is not None and self.leader not in nodes:
            yield ("leader",), f"there is no node {self.leader!r}; known are {', '.join(nodes)}"

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """What the owner's model makes of the workers' answers; raises JobError if no worker answers."""
        names = self._workers(Surroundings(owner.itself, owner.peers))
        workers = present_members(names, owner)
        parts = await self._parts(prompt.text, len(workers), owner)
        layer = self._first_layer
        calls = [(worker, Call.of(part, layer, id="part")) for worker, part in zip(workers, parts, strict=False)]
        answers = [answer.text for answer in await ask(owner, calls, self.timeout) if answer is not None]
        merging = Call.of(aggregation_prompt(prompt.text, answers), layer + 1, "aggregation", "merge")
        return (await owner.complete(merging)).text

    @property
    def _first_layer(self) -> int:
        """The layer in which workers answer."""
        return 2 if self.split == "model" else 1

    def _workers(self, owner: Surroundings) -> list[str]:
        """The workers' names. A keyword leaves out the leader, unless it is `self`."""
        names = member_names(self.workers, owner)
        return names[1:] if self.workers in ("all", "linked") else names

    async def _parts(self, question: str, workers: int, owner: Participant) -> list[str]:
        """What each worker gets, at most ``workers`` parts: units of the split, dealt out in turn."""
        if self.split == "none":
            return [question] * workers
        text = question
        if self.split == "model":
            text = (await owner.complete(Call.of(split_prompt(question, workers), 1, "split", "split"))).text
        units = _SENTENCE_END.split(text) if self.split == "sentences" else text.splitlines()
        units = [unit.strip() for unit in units if unit.strip()] or [question]
        return ["\n".join(units[first::workers]) for first in range(min(workers, len(units)))]


def split_prompt(question: str, parts: int) -> str:
    """The question, and how to split it."""
    return f"{question}\nSplit this task into at most {parts} independent questions. Write one question a line."
