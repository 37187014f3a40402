"""A participant in memory: nodes answer what a test tells them to, and everything that they are asked is kept."""

import asyncio
import random
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from testbed.core import seeds
from testbed.patterns.participant import (
    Call,
    Completion,
    JobError,
    LogProbabilities,
    Peer,
    Price,
    Prompt,
    Surroundings,
    Verification,
)

Result = TypeVar("Result")

DEVICE = Peer("phone", "small", "device", Price(input=0, output=0))
EDGE = Peer("edge1", "middle", "edge", Price(input=1, output=1))
CLOUD = Peer("cloud", "large", "cloud", Price(input=10, output=100), linked=False)
AROUND = Surroundings(DEVICE, [EDGE, CLOUD], 10)


@dataclass(frozen=True)
class Decision:
    """A decision as it was recorded."""

    source: str
    to: str
    score: float | None
    threshold: float | None
    propensity: float | None
    reason: str


@dataclass
class Actor:
    """The node ``itself`` among ``peers``. ``says`` has by node the text of its answers, or what it raises."""

    says: Mapping[str, str | Exception] = field(default_factory=dict)
    logprobs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    itself: Peer = DEVICE
    peers: Sequence[Peer] = (EDGE, CLOUD)
    most_tokens: int = 10
    takes: Mapping[str, float] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    asked: list[tuple[str, Call, float | None]] = field(default_factory=list)
    delegated: list[tuple[str, Prompt]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    disclosures: list[tuple[str, str, int, int]] = field(default_factory=list)
    pings: int = 0

    @property
    def name(self) -> str:
        return self.itself.name

    @property
    def nodes(self) -> list[str]:
        """The nodes that were asked, in order."""
        return [node for node, _, _ in self.asked]

    @property
    def reasons(self) -> list[str]:
        return [decision.reason for decision in self.decisions]

    def random(self, *names: object) -> random.Random:
        return seeds.stream(1, *names)

    def normalised(self, answer: str) -> str:
        return answer.partition(",")[0].strip().lower()

    async def complete(self, call: Call, at: Peer | None = None, timeout: float | None = None) -> Completion:
        node = at.name if at else self.name
        self.asked.append((node, call, timeout))
        begin = asyncio.get_running_loop().time()
        text = await self._answer(node, timeout)
        values = self.logprobs.get(node)
        seconds = asyncio.get_running_loop().time() - begin
        return Completion(text, 20, 5, True, LogProbabilities.of(values) if values else None, seconds=seconds)

    async def delegate(self, prompt: Prompt, at: Peer, timeout: float | None = None) -> str:
        self.delegated.append((at.name, prompt))
        return await self._answer(at.name, timeout)

    async def verify(self, call: Call, tokens: Sequence[int], at: Peer, timeout: float | None = None) -> Verification:
        raise NotImplementedError

    async def reaches(self, peer: Peer, timeout: float) -> bool:
        self.pings += 1
        if peer.name in self.unreachable:
            await asyncio.sleep(timeout)
            return False
        return True

    def disclose(self, to: Peer, text: str, *, masked: int, exposed: int) -> None:
        self.disclosures.append((to.name, text, masked, exposed))

    def decide(self, to: Peer | None, *, source: Peer | None = None, **more: Any) -> None:
        given = {"score": None, "threshold": None, "propensity": None, "reason": ""} | more
        names = [peer.name if peer else self.name for peer in (source, to)]
        self.decisions.append(Decision(*names, **given))

    async def _answer(self, node: str, timeout: float | None) -> str:
        if node in self.unreachable:
            await asyncio.sleep(1e9 if timeout is None else timeout)
            raise JobError(f"{node}: no answer")
        await asyncio.sleep(self.takes.get(node, 0.0))
        said = self.says.get(node, f"{node} says")
        if isinstance(said, Exception):
            raise said
        return said


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as nothing else is left to do."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0]._when)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def play(scene: Coroutine[Any, Any, Result]) -> Result:
    """The result of a scene on a clock that jumps."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(scene)
