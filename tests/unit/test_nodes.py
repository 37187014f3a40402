"""What a run needs of its nodes: that it says why one does not start, whom it waits for, and what one cannot suffer."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from docker.errors import APIError

from testbed.core.clock import REAL_TIME
from testbed.core.errors import SpecError
from testbed.patterns.participant import JobError, Prompt
from testbed.run.playing.play import deliver
from testbed.schema.network.node import NODE_KINDS, Emulated, ModelNode, NodeKind
from testbed.workload.prompts.base import Question
from testbed.workload.scoring.exact import Exact
from testbed.world.nodes import client
from testbed.world.nodes.client import AgentClient
from testbed.world.nodes.container import ContainerNode, ContainerSession
from testbed.world.nodes.feed import EventFeed
from testbed.world.nodes.handle import ClockOffset, NodeGoneError, WorldError
from testbed.world.nodes.waiting import of_all


class TestContainer:
    """Containers that do not start."""

    def test_what_the_engine_says_is_passed_on(self, tmp_path: Path) -> None:
        def start() -> None:
            raise APIError("500 Server Error", explanation="OCI runtime: exec: no such file")

        container: Any = SimpleNamespace(start=start, logs=lambda: b"")
        with pytest.raises(WorldError, match=r"^node 'a' did not start: OCI runtime: exec: no such file$"):
            ContainerNode("a", container, tmp_path, 0.3, REAL_TIME)

    def test_one_that_ends_at_once_is_told_with_its_code_and_what_it_printed(self, tmp_path: Path) -> None:
        container: Any = SimpleNamespace(
            start=lambda: None,
            reload=lambda: None,
            attrs={"State": {"Pid": 0, "ExitCode": 127}},
            logs=lambda: b"python3: not found\n",
        )
        with pytest.raises(WorldError, match=r"^node 'a' ended at once with code 127\npython3: not found$"):
            ContainerNode("a", container, tmp_path, 0.3, REAL_TIME)

    def test_one_that_ends_while_it_is_looked_at_is_told_in_the_same_way(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The agent of a node whose pattern cannot be imported ends a moment after its start."""
        process = subprocess.Popen(["sleep", "60"])

        def end(pid: int) -> None:
            process.kill()
            process.wait()
            raise FileNotFoundError(f"/proc/{pid}/cgroup")

        monkeypatch.setattr("testbed.world.nodes.capped_container.Cgroup", end)
        container: Any = SimpleNamespace(
            start=lambda: None,
            reload=lambda: None,
            attrs={"State": {"Pid": process.pid, "ExitCode": 1}},
            logs=lambda: b"ModuleNotFoundError: No module named 'mine'\n",
        )
        with pytest.raises(WorldError, match=r"^node 'a' ended at once with code 1\nModuleNotFoundError: "):
            ContainerNode("a", container, tmp_path, 0.3, REAL_TIME)

    def test_what_a_dead_node_left_in_its_file_arrives_once(self, tmp_path: Path) -> None:
        (tmp_path / "events.jsonl").write_text('{"t": 1.0, "event": "start"}\n{"t": 2.0, "event": "end"}\n{"t": 3.')
        node: Any = SimpleNamespace(shared=tmp_path, feed=EventFeed(ClockOffset()))

        async def last_events() -> Sequence[Any]:
            async with ContainerSession(node) as session:
                return await session.last_events()

        assert [event["t"] for event in asyncio.run(last_events())] == [1.0, 2.0]
        assert list(asyncio.run(last_events())) == []


@dataclass
class Node:
    """A node that is there by name only."""

    name: str


class TestWaiting:
    """Waiting for all nodes of a run."""

    async def _wait(self, node: Any) -> str:
        if node.name == "slow":
            await asyncio.Event().wait()
        if node.name == "broken":
            raise WorldError("node 'broken' did not start: out of memory")
        return f"{node.name} is there"

    def _of_all(self, *names: str) -> dict[str, str]:
        nodes: Any = [Node(name) for name in names]
        return asyncio.run(of_all(nodes, self._wait, 0.05, "load its model"))

    def test_what_each_returns_is_known_by_its_name(self) -> None:
        assert self._of_all("a", "b") == {"a": "a is there", "b": "b is there"}

    def test_a_node_that_neither_answers_nor_dies_is_named(self) -> None:
        with pytest.raises(WorldError, match=r"^node 'slow' did not load its model within 50 ms$"):
            self._of_all("a", "slow")

    def test_what_one_says_is_told_though_others_are_still_waited_for(self) -> None:
        with pytest.raises(WorldError, match="out of memory"):
            self._of_all("slow", "broken")


@asynccontextmanager
async def _agent(socket: Path, neighbours: Any) -> AsyncIterator[None]:
    """An agent whose ``GET /neighbours`` is answered by a handler."""
    application = web.Application()

    async def models(_: web.Request) -> web.Response:
        return web.json_response({})

    application.add_routes([web.get("/neighbours", neighbours), web.get("/v1/models", models)])
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        await runner.cleanup()


class TestReaching:
    """A node reaches its neighbours, which ends once its ring is tuned."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client, "PATIENCE", 0.5)  # in which a busy host answers a knock

    def test_a_ring_may_be_tuned_for_longer_than_a_hung_agent_is_waited_for(self, tmp_path: Path) -> None:
        knocks = list[int]()

        async def play() -> Any:
            tuned = asyncio.Event()

            async def neighbours(_: web.Request) -> web.Response:
                await tuned.wait()
                return web.json_response({"b": 0.5})

            async with _agent(tmp_path / "a.sock", neighbours), AgentClient(tmp_path / "a.sock") as session:
                knock = session._see_that_it_lives

                async def counted() -> None:
                    await knock()
                    knocks.append(1)
                    if len(knocks) == 3:
                        tuned.set()

                session._see_that_it_lives = counted  # type: ignore[method-assign]
                return await session.reach()

        assert asyncio.run(asyncio.wait_for(play(), 30)) == {"b": 0.5}
        assert len(knocks) >= 3

    def test_a_node_that_ends_meanwhile_is_gone(self, tmp_path: Path) -> None:
        async def play() -> None:
            begun = asyncio.Event()

            async def neighbours(_: web.Request) -> web.Response:
                begun.set()
                await asyncio.Event().wait()
                raise AssertionError

            async with AgentClient(tmp_path / "a.sock") as session:
                async with _agent(tmp_path / "a.sock", neighbours):
                    reaching = asyncio.create_task(session.reach())
                    await begun.wait()
                (tmp_path / "a.sock").unlink(missing_ok=True)
                await reaching

        with pytest.raises(NodeGoneError):
            asyncio.run(asyncio.wait_for(play(), 30))


@dataclass
class Recording:
    """Notes what becomes of prompts."""

    zero: float = 0.0
    events: list[tuple[str, Any]] = field(default_factory=list)

    def emit(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields["prompt"]))

    def fail(self, prompt: str, owner: str, reason: str) -> None:
        self.events.append((f"{owner} failed", f"{prompt}: {reason}"))

    async def lose(self, prompt: str, owner: str) -> None:
        self.events.append(("lost", f"{prompt} of {owner}"))


class TestLimit:
    """The limit on play."""

    def _deliver(self, session: Any, at: float, limit: float | None) -> list[tuple[str, Any]]:
        async def play() -> list[tuple[str, Any]]:
            recording: Any = Recording(asyncio.get_running_loop().time())
            arrival: Any = SimpleNamespace(at=at, prompt="p1", node="a", question=Question("why?", "why?"))
            await deliver(arrival, None, session, recording, [Exact(scorer="exact")], limit)
            events: list[tuple[str, Any]] = recording.events
            return events

        return asyncio.run(asyncio.wait_for(play(), 30))

    async def _never(self, prompt: Prompt) -> str:
        del prompt
        await asyncio.Event().wait()
        raise AssertionError

    async def _at_once(self, prompt: Prompt) -> str:
        return prompt.text

    def test_a_prompt_that_nobody_answers_fails_with_the_limit_as_its_reason(self) -> None:
        events = self._deliver(SimpleNamespace(answer=self._never), at=0.0, limit=0.05)
        assert events == [("prompt", "p1"), ("a failed", "p1: the limit of 50ms on play was over")]

    def test_a_prompt_that_has_not_arrived_by_then_fails_and_is_not_handed_over(self) -> None:
        asked = list[str]()

        async def note(prompt: Prompt) -> str:
            asked.append(prompt.id)
            return prompt.text

        events = self._deliver(SimpleNamespace(answer=note), at=3600.0, limit=0.01)
        assert events == [("prompt", "p1"), ("a failed", "p1: the limit of 10ms on play was over")]
        assert asked == []

    def test_a_prompt_that_is_answered_before_ends_as_ever(self) -> None:
        assert self._deliver(SimpleNamespace(answer=self._at_once), at=0.0, limit=600.0) == [
            ("prompt", "p1"),
            ("score", "p1"),
        ]

    @pytest.mark.parametrize("limit", [None, 600.0])
    def test_other_failures_keep_their_own_reason(self, limit: float | None) -> None:
        async def gone(prompt: Prompt) -> str:
            raise NodeGoneError(prompt.id)

        async def failed(prompt: Prompt) -> str:
            raise JobError(prompt.id)

        assert self._deliver(SimpleNamespace(answer=gone), 0.0, limit) == [("prompt", "p1"), ("lost", "p1 of a")]
        assert self._deliver(SimpleNamespace(answer=failed), 0.0, limit) == [("prompt", "p1")]


def test_a_limit_is_a_duration(files: Any) -> None:
    assert files.load().limit is None
    assert files.load("limit=90s").limit == 90


class Endpoint(NodeKind, ModelNode, Emulated):
    """A kind that only stands behind a link, as somebody else's server does."""

    suffers = frozenset({"deaf_to"})

    @classmethod
    def start(cls, site: Any, nodes: Any) -> Any:
        raise NotImplementedError


class TestKinds:
    """What the kinds of nodes cannot be or suffer, said by ``validate``."""

    @pytest.fixture(autouse=True)
    def endpoint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another package registers a kind."""
        point = EntryPoint("endpoint", f"{__name__}:Endpoint", NODE_KINDS.group)
        monkeypatch.setitem(NODE_KINDS._points, "endpoint", [point])
        monkeypatch.setitem(NODE_KINDS._loaded, "endpoint", Endpoint)

    def _said(self, files: Any, kind: str, *entries: str) -> list[str]:
        """The mistakes in a scenario whose node b is of a kind."""
        topology = files.topology.replace("b: {", f"b: {{kind: {kind}, ")
        timeline = "timeline:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries) if entries else ""
        try:
            files.load(scenario=files.scenario + timeline, topology=topology)
        except SpecError as error:
            return [problem.message for problem in error.problems]
        return []

    def test_a_kind_that_nobody_registers_is_refused(self, files: Any) -> None:
        (message,) = self._said(files, "toaster")
        known = ", ".join(map(repr, NODE_KINDS.names()))
        assert message == f"nodes.b.kind: `toaster` is wrong: it should be one of {known}"

    @pytest.mark.parametrize(
        "fault",
        ["kill: b", "pause: b", "hang: b", "restart: b", "slow: {node: b, factor: 2}", "cpu: {node: b, cpus: 0.1}"],
    )
    def test_a_fault_that_a_kind_cannot_suffer_is_refused(self, files: Any, fault: str) -> None:
        named = fault.partition(":")[0]
        (message,) = self._said(files, "endpoint", "at: 1s, kill: a", f"at: 2s, {fault}")
        refused = f"node 'b' is of kind 'endpoint', which cannot suffer `{named}`; name another node"
        assert message == f"timeline[1].{named}: {refused}"

    def test_what_it_can_suffer_is_left_to_it(self, files: Any) -> None:
        assert self._said(files, "endpoint", "at: 1s, partition: [[a], [b]]", "at: 2s, cut: b-s1") == []

    def test_a_container_suffers_all_faults(self, files: Any) -> None:
        squeezed = "at: 3s, memory: {node: b, memory: 100MiB}, for: 1s"
        assert self._said(files, "container", "at: 1s, hang: b, for: 1s", squeezed, "at: 5s, restart: b") == []

    def test_drawn_faults_are_those_that_nodes_can_suffer(self, files: Any) -> None:
        topology = files.topology.replace("b: {", "b: {kind: endpoint, ")
        timeline = "timeline: [{random: {faults: [pause], rate: 10/s}}]\n"
        entries = files.load(scenario=files.scenario + timeline, topology=topology).drawn().timeline
        assert {entry.subject for entry in entries} == {"a"}
