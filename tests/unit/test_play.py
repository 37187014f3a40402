"""Play and recording know nodes by their protocol alone: here they are no containers, and there is no network."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from testbed.core.clock import REAL_TIME
from testbed.faults.api import Condition
from testbed.host.namespace import Namespace
from testbed.patterns.participant import ChatMessage, JobError, Prompt
from testbed.record.directory import RunDirectory
from testbed.record.recording import Recording
from testbed.run.playing.play import deliver, play
from testbed.workload.prompts.base import Question
from testbed.workload.schedule import Arrival
from testbed.workload.scoring.before_comma import BeforeComma
from testbed.workload.scoring.exact import Exact
from testbed.world.nodes.handle import ClockOffset, Event, Exit, NodeGoneError, NodeHandle, Session, Usage


@dataclass
class Server:
    """A node that is somebody else's server: it tells no memory, prints nothing, and answers with the prompt's text.

    It ends at the first prompt that it is ``mortal`` for.
    """

    name: str
    mortal: bool = False
    namespace: Namespace = field(default_factory=lambda: Namespace(Path("/nowhere")))
    cores: frozenset[int] = frozenset()
    clock_offset: ClockOffset = field(default_factory=lambda: ClockOffset(0.0, 0.001))
    exits: list[Exit] = field(default_factory=list)
    seen: "list[Event]" = field(default_factory=list)
    taken: int = 0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        yield self

    async def ready(self) -> None:
        return

    async def reach(self) -> Mapping[str, float | None]:
        return {}

    async def answer(self, asked: Prompt) -> str:
        prompt, text = asked.id, asked.text
        self._emit("arrival", prompt=prompt, text=text, label=asked.label)
        job = f"{prompt}.1@{self.name}"
        self._emit("enqueue", job=job, prompt=prompt, layer="1", owner=self.name)
        if self.mortal:
            self.exits = [Exit("unplugged")]
            raise NodeGoneError
        self._emit("start", job=job)
        self._emit("end", job=job, tokens=1, prompt_tokens=1, text=text, stopped=True)
        self._emit("answer", prompt=prompt, text=text)
        return text

    async def events(self, every: float) -> AsyncGenerator[Sequence[Event], None]:
        while True:
            if new := await self.last_events():
                yield new
            await asyncio.sleep(every)

    async def last_events(self) -> Sequence[Event]:
        new = self.seen[self.taken :]
        self.taken += len(new)
        return new

    @property
    def ended(self) -> bool:
        return bool(self.exits)

    def exit(self) -> Exit | None:
        return self.exits[-1] if self.exits else None

    @property
    def started_by_others(self) -> bool:
        return False

    def logs(self) -> bytes:
        return b""

    def usage(self) -> Usage | None:
        return None

    def change(self, before: Condition, after: Condition) -> None:
        raise NotImplementedError

    def start_again(self) -> int | None:
        raise NotImplementedError

    def close(self) -> None:
        return

    def _emit(self, event: str, **fields: Any) -> None:
        self.seen.append({"t": REAL_TIME.now(), "node": self.name, "event": event, **fields})


def _played(
    files: Any, tmp_path: Path, *nodes: Server, arrivals: str = "{process: poisson, rate: 200/s}"
) -> list[Event]:
    """The events that a run with such nodes records."""
    scenario = files.load(f"workload.arrivals={arrivals}")
    handles: Sequence[NodeHandle] = nodes
    world: Any = SimpleNamespace(
        plan=SimpleNamespace(scenario=scenario, synthetic=(), devices={}),
        clock=REAL_TIME,
        nodes={node.name: node for node in handles},
        network=SimpleNamespace(traffic=dict),
        link_events=tmp_path / "links.jsonl",
    )
    recording = Recording(world)
    play(world, recording, lambda *_: None)
    return list(recording.write(RunDirectory(tmp_path)).events)


def test_every_event_of_every_node_is_recorded_once_and_no_memory_is_made_up(files: Any, tmp_path: Path) -> None:
    a, b = Server("a"), Server("b")
    events = _played(files, tmp_path, a, b)
    for node in (a, b):
        recorded = [(event["event"], event.get("prompt")) for event in events if event["node"] == node.name]
        assert recorded == [(event["event"], event.get("prompt")) for event in node.seen]
    assert sum(event["event"] == "answer" for event in events) == 6
    assert sum(event["event"] == "score" for event in events) == 6


def test_prompts_of_a_node_that_ended_are_lost_with_its_own_reason(files: Any, tmp_path: Path) -> None:
    events = _played(files, tmp_path, Server("a"), Server("b", mortal=True))
    ended = [(event["who"], event["reason"]) for event in events if event["event"] == "exited"]
    assert ended == [("b", "unplugged")]
    of_b = {event["prompt"] for event in events if event["event"] == "prompt" and event["owner"] == "b"}
    assert {event["prompt"]: event["reason"] for event in events if event["event"] == "lost"} == dict.fromkeys(
        of_b, "b: unplugged"
    )


def test_a_user_of_a_closed_loop_has_one_prompt_outstanding(files: Any, tmp_path: Path) -> None:
    nodes = (Server("a"), Server("b"))
    events = _played(files, tmp_path, *nodes, arrivals="{process: closed, users: 1, think: 2ms}")
    for node in nodes:
        prompts = {event["prompt"] for event in events if event["event"] == "prompt" and event["owner"] == node.name}
        assert len(prompts) == 3
        order = [event["event"] for event in events if event.get("prompt") in prompts]
        own = [kind for kind in order if kind in ("prompt", "answer")]
        assert own == ["prompt", "answer"] * 3


def test_a_user_asks_again_after_a_prompt_that_was_lost(files: Any, tmp_path: Path) -> None:
    nodes = (Server("a", mortal=True), Server("b"))
    events = _played(files, tmp_path, *nodes, arrivals="{process: closed, users: 1, think: 0s}")
    assert sum(event["event"] == "prompt" for event in events) == 6
    assert sum(event["event"] == "lost" for event in events) == 3


@dataclass
class Asked:
    """A session that answers with how many messages it saw, and keeps what it was asked."""

    prompts: list[Prompt] = field(default_factory=list)

    async def answer(self, prompt: Prompt) -> str:
        self.prompts.append(prompt)
        if prompt.text == "fail":
            raise JobError("no")
        return f"{len(prompt.before) + 1}"


def _conversed(question: Question) -> tuple[list[Prompt], list[tuple[str, dict[str, Any]]]]:
    async def conversation() -> tuple[list[Prompt], list[tuple[str, dict[str, Any]]]]:
        recorded: list[tuple[str, dict[str, Any]]] = []
        recording: Any = SimpleNamespace(
            zero=asyncio.get_running_loop().time(),
            questions={},
            emit=lambda event, **fields: recorded.append((event, fields)),
        )
        session: Any = Asked()
        scorers = [Exact(scorer="exact"), BeforeComma(scorer="before-comma")]
        await deliver(Arrival(0.0, "a", "p7", question), None, session, recording, scorers, None)
        return session.prompts, recorded

    return asyncio.run(conversation())


def test_each_turn_of_a_conversation_is_asked_after_the_answer_to_the_one_before() -> None:
    system: ChatMessage = {"role": "system", "content": "Be brief."}
    prompts, recorded = _conversed(Question("one", None, before=(system,), turns=("two", "three"), secret=True))
    assert [(prompt.id, prompt.text, prompt.privacy) for prompt in prompts] == [
        ("p7", "one", "device"),
        ("p7-2", "two", "device"),
        ("p7-3", "three", "device"),
    ]
    said = ["Be brief.", "one", "2", "two", "4"]
    assert [message["content"] for message in prompts[2].before] == said
    assert [message["role"] for message in prompts[2].before] == ["system", *["user", "assistant"] * 2]
    assert [fields["prompt"] for event, fields in recorded if event == "prompt"] == ["p7", "p7-2", "p7-3"]


def test_a_turn_that_fails_is_the_last_one() -> None:
    prompts, _ = _conversed(Question("one", None, turns=("fail", "three")))
    assert [prompt.id for prompt in prompts] == ["p7", "p7-2"]


def test_several_scorers_judge_and_one_of_them_counts() -> None:
    _, recorded = _conversed(Question("one", "1"))
    assert [
        (fields["scorer"], fields["value"], fields["counts"]) for event, fields in recorded if event == "score"
    ] == [
        ("exact", 1.0, True),
        ("before-comma", 1.0, False),
    ]
