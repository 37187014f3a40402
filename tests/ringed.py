"""A ring of nodes in one process, each at a loopback address of its own, with layers that need no weights.

A fake layer adds to a row what it has cached of the sample, so a token that is lost, comes twice or in another order
gives other answers from there on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import loopback
import numpy as np

from testbed.node.config import NodeConfig
from testbed.node.engine.likelihood import log_probability
from testbed.node.engine.model import Sampling
from testbed.node.engine.slowness import Slowness
from testbed.node.engine.stage import Rows, StageError
from testbed.node.ring.follower import Follower
from testbed.node.ring.head import Head
from testbed.node.ring.hop import Seat
from testbed.node.ring.station import InnerStation, LastStation, Station
from testbed.node.ring.wire.activations import Hidden
from testbed.node.transport.door import Door
from testbed.patterns.participant import ChatMessage, Completion, LogProbabilities
from testbed.patterns.pipeline import Pipeline
from testbed.patterns.protocol import QueueOptions, RetryOptions

WIDTH = 32
VOCABULARY = 23
END = 0
CONTEXT = 64
NOWHERE = Path("/nonexistent")
NO_DOORS: Mapping[str, Door] = {}


@dataclass
class FakeLayers:
    """Those of one stage, ``depth`` of them. ``fails`` is called with the rows of each batch, and may raise."""

    depth: int = 1
    fails: Callable[[int], None] = lambda _: None
    cache: dict[int, list[list[float]]] = field(default_factory=dict)
    width: int = WIDTH

    def forward(self, rows: Rows, hidden: Hidden) -> Hidden:
        self.fails(len(rows))
        results = []
        for sequence, position, row in zip(rows.sequences, rows.positions, hidden, strict=True):
            value = float(row[0])
            for cached in self.cache.setdefault(sequence, [[] for _ in range(self.depth)]):
                assert position == len(cached)
                cached.append(value)
                value = sum((n + 1) * value for n, value in enumerate(cached)) % VOCABULARY
            results.append(np.full(WIDTH, value))
        return np.array(results, np.float32)

    def logits(self, rows: Rows, hidden: Hidden, wanted: Sequence[int]) -> Hidden:
        results = self.forward(rows, hidden)
        return np.array([np.eye(VOCABULARY)[int(results[number][0])] for number in wanted], np.float32)

    def free(self, sequence: int) -> None:
        self.cache.pop(sequence, None)

    def close(self) -> None:
        self.cache.clear()


class FakeFront:
    """A token for each letter."""

    def tokenize(self, messages: Sequence[ChatMessage]) -> list[int]:
        return [1 + ord(letter) % (VOCABULARY - 1) for letter in messages[-1]["content"]]

    def detokenize(self, tokens: Sequence[int], prompt: Sequence[int]) -> str:
        del prompt
        return " ".join(map(str, tokens))

    def piece(self, token: int) -> bytes:
        return f"{token} ".encode()

    def ends(self, token: int) -> bool:
        return token == END

    def embed(self, tokens: Sequence[int]) -> Hidden:
        return np.repeat(np.array(tokens, np.float32)[:, None], WIDTH, axis=1)


def unsplit(text: str, stages: int, limit: int) -> Completion:
    """What the same layers say in one place, one token at a time."""
    front, layers = FakeFront(), [FakeLayers() for _ in range(stages)]
    prompt = front.tokenize([{"role": "user", "content": text}])
    tokens, drawn, logprobs = list(prompt), list[int](), list[float]()
    for position in range(len(prompt) + limit):
        hidden = front.embed(tokens[position : position + 1])
        for stage in layers:
            hidden = stage.forward(Rows([0], [position]), hidden)
        if position < len(prompt) - 1:
            continue
        token = int(hidden[0][0])
        if token == END:
            return _completion(drawn, logprobs, prompt, stopped=True)
        tokens.append(token)
        drawn.append(token)
        logits = np.eye(VOCABULARY, dtype=np.float32)[token]
        logprobs.append(float(np.float32(log_probability(logits, token))))
        if len(drawn) == limit:
            break
    return _completion(drawn, logprobs, prompt, stopped=False)


def _completion(drawn: list[int], logprobs: list[float], prompt: list[int], stopped: bool) -> Completion:
    text = FakeFront().detokenize(drawn, prompt)
    return Completion(text, len(prompt), len(drawn), stopped, LogProbabilities.of(logprobs))


class FakeStations:
    """Those of a node. Of a node that is missing, the last of the others takes over the layer."""

    def __init__(self, ring: "FakeRing", name: str) -> None:
        self._ring = ring
        self._name = name

    def __contains__(self, missing: object) -> bool:
        return isinstance(missing, tuple) and len(missing) <= 1

    def load(self, missing: Sequence[str]) -> Station:
        last = [name for name in self._ring.pattern.ring if name not in missing][-1]
        layers = self._ring.layers[self._name] = FakeLayers(1 + len(missing) if self._name == last else 1)
        groups, batch = self._ring.pattern.places
        return (LastStation if self._name == last else InnerStation)(layers, groups * batch, CONTEXT)


class FakeRing:
    """The nodes of a ring by name, which can be stopped and started."""

    def __init__(
        self, pattern: Pipeline, make_trace: Callable[[str], Any], doors: Mapping[str, Door] = NO_DOORS
    ) -> None:
        self.doors = doors
        self.pattern = pattern
        self.traces = {name: make_trace(name) for name in pattern.ring}
        self.layers: dict[str, FakeLayers] = {}
        self.nodes: dict[str, Head | Follower] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}

    def address(self, name: str) -> str:
        """One that no other process on this host has; the port is the same for all."""
        return loopback.address(1 + self.pattern.ring.index(name))

    @property
    def head(self) -> Head:
        """The node that takes jobs."""
        head = self.nodes[self.pattern.ring[0]]
        assert isinstance(head, Head)
        return head

    def start(self, name: str) -> None:
        """Start a node, with nothing in its cache."""
        stations, trace = FakeStations(self, name), self.traces[name].trace
        door = self.doors.get(name, Door())
        seat = Seat(self._config(name), self.pattern, stations, Slowness(NOWHERE), trace, door)
        head = name == self.pattern.ring[0]
        node = self.nodes[name] = Head(seat, FakeFront()) if head else Follower(seat)  # type: ignore[arg-type]
        self._serving[name] = asyncio.create_task(node.serve())

    async def stop(self, name: str) -> None:
        """End a node at once."""
        serving = self._serving.pop(name)
        assert not serving.done(), serving
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving

    async def complete(self, text: str, limit: int = 8) -> Completion:
        """What the ring says to ``text``."""
        messages = [{"role": "user", "content": text}]
        return await self.head.complete(text, messages, Sampling(0.0, limit, seed=1), {"prompt": text})

    def _config(self, name: str) -> NodeConfig:
        return NodeConfig(
            name=name,
            address=self.address(name),
            neighbours={other: self.address(other) for other in self.pattern.ring},
            pattern_classes={"pipeline": "testbed.patterns.pipeline:Pipeline"},
            pattern=self.pattern,
            queue=QueueOptions(),
            retry=RetryOptions(),
            membership=None,
            model="fake",
            context=CONTEXT,
            threads=1,
            temperature=0.0,
            max_tokens=8,
            seed=1,
        )


@asynccontextmanager
async def running(
    pattern: Pipeline, make_trace: Callable[[str], Any], doors: Mapping[str, Door] = NO_DOORS
) -> AsyncIterator[FakeRing]:
    """A ring that is closed."""
    ring = FakeRing(pattern, make_trace, doors)
    async with asyncio.timeout(60):
        for name in pattern.ring:
            ring.start(name)
        await ring.head.ready()
        yield ring
        for name in list(ring._serving):
            await ring.stop(name)


def failing_once(reason: str) -> Callable[[int], None]:
    """What makes the first batch fail."""
    left = [reason]

    def fail(rows: int) -> None:
        del rows
        if left:
            raise StageError(left.pop())

    return fail
