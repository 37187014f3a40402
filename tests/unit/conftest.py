"""What several unit tests start from: a small valid scenario on disk, and a model that needs no weights."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from testbed.core.clock import REAL_TIME
from testbed.node.engine.chat import ContextOverflowError
from testbed.node.engine.model import Sampling
from testbed.node.event_log import EventWriter
from testbed.patterns.participant import ChatMessage, Completion, LogProbabilities, TokenLogProbability, Verification
from testbed.schema.scenario import Scenario, load_scenario

SCENARIO = """\
name: small
topology: topology.yaml
seed: 3
pattern: {kind: gossip-moa, layers: 1, proposers: 1, timeout: 2s}
workload:
  prompts: worldfacts
  arrivals: {process: poisson, rate: 2/s}
  count: 6
expect:
  completed: ">= 0.95"
  latency.p95: "< 15s"
"""

TOPOLOGY = """\
name: pair
defaults:
  link: {bandwidth: 10mbit, delay: 10ms}
nodes:
  a: {model: zoo/alpha, cpus: 0.3, memory: 160MiB}
  b: {model: zoo/beta, cpus: 0.3, memory: 160MiB}
switches: [s1]
links:
  - endpoints: [a, s1]
  - endpoints: [b, s1]
"""


@dataclass(frozen=True)
class Files:
    """A scenario and its topology in a directory; a test replaces what it is about."""

    directory: Path
    scenario: str = SCENARIO
    topology: str = TOPOLOGY

    def write(self, scenario: str | None = None, topology: str | None = None) -> Path:
        """Write both files and return the path of the scenario."""
        (self.directory / "topology.yaml").write_text(self.topology if topology is None else topology, encoding="utf-8")
        path = self.directory / "scenario.yaml"
        path.write_text(self.scenario if scenario is None else scenario, encoding="utf-8")
        return path

    def load(self, *assignments: str, scenario: str | None = None, topology: str | None = None) -> Scenario:
        """The scenario that they make."""
        return load_scenario(self.write(scenario, topology), assignments)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def scenario(files: Files) -> Scenario:
    return files.load()


@dataclass
class TraceFile:
    """A node's trace and a way to read it back."""

    path: Path
    trace: EventWriter

    def read(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of the given kinds, or all."""
        events = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [event for event in events if not kinds or event["event"] in kinds]


@pytest.fixture
def make_trace(tmp_path: Path) -> Callable[[str], TraceFile]:
    """The trace of a node; there is one for each name, and with it one open file."""

    @cache
    def make(node: str) -> TraceFile:
        path = tmp_path / f"{node}.jsonl"
        return TraceFile(path, EventWriter(path, node, REAL_TIME))

    return make


@dataclass
class FakeModel:
    """Answers with the last message in capitals; a message that names an error raises it."""

    errors: dict[str, Exception] = field(default_factory=dict)
    held: threading.Event = field(default_factory=threading.Event)
    """Clear: a job that has begun waits. Set at the start."""
    stuck_at: str = ""
    """The message whose job waits, whatever the others do."""
    seen: list[str] = field(default_factory=list)
    samplings: list[Sampling] = field(default_factory=list)
    most_at_once: int = 0
    logprobs: LogProbabilities | None = None
    vocabulary: str = "capitals"
    longest: int = 100_000
    token_logprobs: tuple[TokenLogProbability, ...] = ()
    roles: list[str] = field(default_factory=list)
    """Those of the chat seen last."""
    pausing: threading.Event = field(default_factory=threading.Event)
    """Clear: a job waits after its first token. Set at the start."""
    breaking: Exception | None = None
    """Raised after the first token."""
    _at_once: int = 0

    def __post_init__(self) -> None:
        self.held.set()
        self.pausing.set()

    def complete(
        self, messages: Sequence[ChatMessage], sampling: Sampling, on_text: Callable[[str], None]
    ) -> Completion:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        text = messages[-1]["content"]
        self.seen.append(text)
        self.roles = [message["role"] for message in messages]
        self.samplings.append(sampling)
        if text == self.stuck_at:
            self.held.clear()
        try:
            assert self.held.wait(30)
            if text in self.errors:
                raise self.errors[text]
            on_text(text.upper()[:1])
            assert self.pausing.wait(30)
            if self.breaking is not None:
                raise self.breaking
            on_text(text.upper()[1:])
            stopped = sampling.max_tokens > 2
            return Completion(
                text.upper(),
                prompt_tokens=len(text),
                tokens=2,
                stopped=stopped,
                logprobs=self.logprobs,
                token_logprobs=self.token_logprobs,
            )
        finally:
            self._at_once -= 1

    def check(self, messages: Sequence[ChatMessage]) -> None:
        if sum(len(message["content"]) for message in messages) > self.longest:
            raise ContextOverflowError.of(self.longest + 1, self.longest, least=True)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        return sum(len(message["content"]) for message in messages)

    def verify(self, messages: Sequence[ChatMessage], draft: Sequence[int], sampling: Sampling) -> Verification:
        """A model that writes 1, 2, 3 and so on, up to the length of the last message."""
        del sampling
        length = len(messages[-1]["content"])
        accepted = 0
        while accepted < min(length, len(draft)) and draft[accepted] == accepted + 1:
            accepted += 1
        return Verification(accepted, accepted + 1 if accepted < length else None, length)


@pytest.fixture
def model() -> Iterator[FakeModel]:
    fake = FakeModel()
    yield fake
    fake.pausing.set()
    fake.held.set()  # whatever a test left waiting may end
