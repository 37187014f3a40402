"""A node as patterns see it, whose own answers and those of its peers a test makes up."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.core.normalisation import before_comma
from testbed.patterns.participant import (
    Call,
    Claim,
    Completion,
    JobError,
    LogProbabilities,
    Peer,
    Prompt,
    Record,
    Surroundings,
    Verification,
)

Answering = Callable[[str, Call], str]
"""(node, call) → what the node's model writes; an empty text is a failure."""


def in_turn(**answers: Sequence[str]) -> Answering:
    """Every node gives its answers one after the other, the last one again and again."""
    given: Counter[str] = Counter()

    def answering(node: str, _call: Call) -> str:
        given[node] += 1
        return answers[node][min(given[node], len(answers[node])) - 1]

    return answering


@dataclass
class Made:
    """A participant called ``a``. ``links`` has the nodes that are linked to each; without, all are linked to all."""

    answering: Answering
    others: Sequence[str] = ("b", "c", "d")
    links: Mapping[str, Sequence[str]] = field(default_factory=dict)
    absent: Sequence[str] = ()
    probabilities: Mapping[str, float] = field(default_factory=dict)
    calls: list[tuple[str, Call]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    name: str = "a"
    records: dict[str, Record] = field(default_factory=dict)
    checked: list[list[Claim]] = field(default_factory=list)
    excluded: list[list[str]] = field(default_factory=list)

    @property
    def itself(self) -> Peer:
        return self._peer(self.name)

    @property
    def peers(self) -> list[Peer]:
        return [self._peer(name) for name in self.others]

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(self.itself, self.peers)

    def _peer(self, name: str) -> Peer:
        links = tuple(self.links.get(name, [other for other in (self.name, *self.others) if other != name]))
        return Peer(name, linked=self.name in links, links=links, present=name not in self.absent)

    def random(self, *names: object) -> random.Random:
        return random.Random(str(names))

    def normalised(self, answer: str) -> str:
        return before_comma(answer)

    async def complete(self, call: Call, at: Peer | None = None, timeout: float | None = None) -> Completion:
        node = at.name if at else self.name
        self.calls.append((node, call))
        await asyncio.sleep(0)
        text = self.answering(node, call)
        if not text:
            raise JobError(f"{node}: no answer within {timeout}s")
        logprobs = LogProbabilities.of([self.probabilities[node]]) if node in self.probabilities else None
        return Completion(text, 1, 1, True, logprobs, by=node)

    async def delegate(self, *_: object) -> str:
        raise NotImplementedError

    async def verify(self, *_: object) -> Verification:
        raise NotImplementedError

    def check(self, claims: Sequence[Claim]) -> None:
        self.checked.append(list(claims))

    def record(self, node: str) -> Record:
        return self.records.get(node, Record())

    def exclude(self, nodes: Sequence[str]) -> None:
        self.excluded.append(list(nodes))

    def decide(self, _to: Peer | None, **why: Any) -> None:
        self.decisions.append(why)


def text_of(call: Call) -> str:
    """The one message of a call."""
    (message,) = call.messages
    return message["content"]


def answer_of(pattern: Any, owner: Made, question: str = "Why?") -> str:
    """What the pattern answers."""
    answer: str = asyncio.run(pattern.answer(Prompt("p1", question), owner))
    return answer


def held_to_its_calls(pattern: Any, owner: Made) -> bool:
    """Whether the prompt made as many calls as the pattern says."""
    least, most = pattern.calls(owner.surroundings)
    return bool(least <= len(owner.calls) <= most)


def known(*nodes: str) -> dict[str, Surroundings]:
    """Nodes of which nothing but the names is known."""
    return {node: Surroundings(Peer(node), ()) for node in nodes}
