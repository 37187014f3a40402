"""Nodes that run somebody else's image: what files say of them, when they are ready, and how they are asked."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession, web
from docker.errors import ImageNotFound

from testbed.core.errors import HostError, SpecError
from testbed.patterns.participant import JobError, Prompt
from testbed.schema.network.topology import Topology
from testbed.schema.scenario import Sampling, Scenario, load_scenario, scenario_text
from testbed.world.nodes.handle import last_words
from testbed.world.nodes.kinds import Program
from testbed.world.nodes.programs.asking import ask_openai
from testbed.world.nodes.programs.making import gpu_requests
from testbed.world.nodes.programs.needs import check
from testbed.world.nodes.programs.node import ProgramNode
from testbed.world.nodes.programs.readiness import listening_address
from testbed.world.nodes.programs.spec import Answers

TOPOLOGY = """\
name: programs
nodes:
  a: {image: "my/server:1", cpus: 0.3, memory: 64MiB, answers: {openai: 8080}, PART}
  b: {image: "my/worker:1", cpus: 0.3, memory: 64MiB}
links: [{endpoints: [a, b]}]
"""


SCENARIO = """\
name: small
topology: topology.yaml
pattern: alone
workload: {prompts: worldfacts, arrivals: {process: poisson, rate: 2/s}, count: 6}
"""


def _scenario(files: Any, part: str = "tier: edge", more: str = "") -> Scenario:
    loaded: Scenario = files.load(scenario=SCENARIO + more, topology=TOPOLOGY.replace("PART", part))
    return loaded


def _loaded(files: Any, part: str = "tier: edge") -> Topology:
    return _scenario(files, part).topology


def test_a_node_with_an_image_is_a_program_without_an_agent(files: Any) -> None:
    topology = _loaded(files)
    assert isinstance(topology.nodes["a"], Program)
    assert not topology.agents
    assert list(topology.emulated) == ["a", "b"]


def test_prompts_arrive_at_programs_that_answer_and_at_no_others(files: Any) -> None:
    assert list(_scenario(files).owners) == ["a"]


def test_programs_are_no_peers_of_agents(files: Any) -> None:
    program = "  c: {image: x, cpus: 0.3, memory: 64MiB}\nswitches"
    links = "  - endpoints: [c, s1]\n"
    scenario = files.load(topology=files.topology.replace("switches", program) + links)
    assert scenario.neighbours("a") == ["b"]
    assert list(scenario.owners) == ["a", "b"]


def test_what_a_run_writes_of_a_program_can_be_read_again(files: Any, tmp_path: Path) -> None:
    part = "ready: {tcp: 80}, models: {/m: zoo/alpha}, environment: {KEY: env:KEY}, out: [x], command: [serve]"
    scenario = _scenario(files, part)
    path = tmp_path / "again.yaml"
    path.write_text(scenario_text(scenario))
    assert load_scenario(path).topology == scenario.topology


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("ready: {}", "ready: takes one of `tcp`, `http`, `log`"),
        ("ready: {tcp: 1, log: up}", "ready: takes one of `tcp`, `http`, `log`"),
        ("ready: {tcp: 80, path: /x}", "ready: `path` goes with `http`"),
        ("ready: {tcp: 70000}", "ready.tcp"),
        ("after: [c]", "'c' is no other node with an `image`; such are: b"),
        ("after: [a]", "the nodes wait for each other"),
        ("models: {model.gguf: zoo/alpha}", "must be an absolute path inside the node"),
        ("models: {/m: zoo/nobody}", "zoo/nobody"),
        ("files: {/run/node/x: x}", "'/run/node/x' is taken"),
        ("files: {/a/../../etc: x}", "must be an absolute path inside the node"),
        ("out: [../x]", "the name of a file, without a folder"),
        ("environment: {A-B: x}", "letters, digits and underscores"),
        ("processes: 0", "processes"),
        ("model: zoo/alpha", "model"),
        ("slots: 2", "slots"),
        ("device: raspberry-pi-5", None),
    ],
)
def test_a_mistake_is_one_sentence_at_its_place(files: Any, part: str, sentence: str | None) -> None:
    if sentence is None:  # `cpus` says what the device would
        assert _loaded(files, part).nodes["a"].device == "raspberry-pi-5"
        return
    with pytest.raises(SpecError) as raised:
        _loaded(files, part)
    (problem,) = raised.value.problems
    assert sentence in f"{problem.message}"
    assert problem.line == 3


def test_time_cannot_run_slower_for_a_program(files: Any) -> None:
    with pytest.raises(SpecError, match="node 'a' of the kind 'image' runs in real time; leave `dilation` out"):
        _scenario(files, more="dilation: 2\n")


class _Engine:
    """A played Docker engine."""

    def __init__(self, *images: str, **info: Any) -> None:
        self._images = images
        self.images = self
        self._info = info

    def get(self, name: str) -> None:
        if name not in self._images:
            raise ImageNotFound(name)

    def info(self) -> dict[str, Any]:
        return self._info


def _program(**said: Any) -> Program:
    return Program.model_validate({"kind": "image", "image": "my/server:1", "cpus": 0.3, "memory": "64MiB", **said})


def test_an_image_that_is_not_there_is_named_with_the_command_that_gets_it() -> None:
    engine: Any = _Engine("other:1")
    with pytest.raises(
        HostError, match=r"^node 'a': the engine has no image my/server:1, .*: docker pull my/server:1$"
    ):
        check("a", _program(), engine)
    check("a", _program(image="other:1"), engine)


def test_the_testbeds_own_image_is_made_here() -> None:
    from testbed.host.image import llama_rpc_image

    with pytest.raises(HostError, match=r"to get it: sudo \./tb image llama-rpc$"):
        check("a", _program(image=llama_rpc_image()), _Engine())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("info", "gives"),
    [
        ({"Runtimes": {"runc": {}}}, False),
        ({"Runtimes": None, "DiscoveredDevices": None}, False),
        ({"Runtimes": {"runc": {}, "nvidia": {"path": "nvidia-container-runtime"}}}, True),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}, True),
    ],
)
def test_a_gpu_needs_an_engine_that_gives_one(info: dict[str, Any], gives: bool) -> None:
    engine: Any = _Engine("my/server:1", **info)
    if gives:
        check("a", _program(gpu=1), engine)
        return
    with pytest.raises(
        HostError, match=r"^node 'a': this host's engine can give no GPU .*: sudo apt-get install nvidia"
    ):
        check("a", _program(gpu=1), engine)
    check("a", _program(), engine)


def test_gpus_are_asked_for_as_dockers_own_client_does() -> None:
    """``docker run --gpus 2`` (Docker Engine API, HostConfig.DeviceRequests)."""
    (request,) = gpu_requests(2)
    assert request == {"Driver": "nvidia", "Count": 2, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
    assert gpu_requests(0) == []


def test_a_secret_that_is_not_in_the_environment_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    program = _program(environment={"KEY": "env:NO_KEY"})
    with pytest.raises(SpecError, match=r"^nodes\.a\.environment\.KEY: the environment has no NO_KEY"):
        check("a", program, _Engine("my/server:1"))  # type: ignore[arg-type]
    monkeypatch.setenv("NO_KEY", "there")
    check("a", program, _Engine("my/server:1"))  # type: ignore[arg-type]


class _Here:
    """This process's own namespace."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize(
    ("family", "bound", "expected"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.2", "127.0.0.2"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
    ],
)
def test_who_listens_is_read_from_the_kernel_without_a_connection(family: int, bound: str, expected: str) -> None:
    here: Any = _Here()
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        try:
            listener.bind((bound, 0))
        except OSError:
            pytest.skip("this host has no IPv6")
        port = listener.getsockname()[1]
        assert listening_address(here, port) is None
        listener.listen()
        assert listening_address(here, port) == expected
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


class _Node:
    """A node that is asked, and the events that are noted of it."""

    name = "a"
    namespace: Any = _Here()
    sampling = Sampling(temperature=0.5, max_tokens=9)
    seed = 3
    container = "tb-0-a"

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def emit(self, event: str, **fields: object) -> None:
        self.events.append({"event": event, **fields})


@asynccontextmanager
async def _server(handler: Callable[[web.Request], Any]) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _asked(handler: Callable[[web.Request], Any], node: _Node) -> str:
    async def ask() -> str:
        async with _server(handler) as port, ClientSession() as http:
            return await ask_openai(node, http, Answers(openai=port, model="m"), Prompt("p1", "Why?"))

    return asyncio.run(ask())


def _streaming(*chunks: Any) -> Callable[[web.Request], Any]:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(
                b"data: " + (chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()) + b"\n\n"
            )
        return response

    return stream


def _text(text: str | None, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def test_a_streamed_answer_is_noted_as_an_inference() -> None:
    node = _Node()
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
    text = _asked(_streaming(_text(None), _text("Be"), _text("cause"), _text(None, "stop"), usage, b"[DONE]"), node)
    assert text == "Because"
    assert [event["event"] for event in node.events] == ["enqueue", "start", "first_token", "end"]
    assert {event["job"] for event in node.events} == {"p1.1@a"}
    assert node.events[0] | {"job": ""} == {
        "event": "enqueue", "job": "", "prompt": "p1", "layer": "1", "role": "answer", "owner": "a",
    }  # fmt: skip
    end = node.events[-1]
    assert (end["prompt_tokens"], end["tokens"], end["text"], end["stopped"]) == (7, 5, "Because", True)


def test_a_server_that_counts_no_tokens_has_as_many_as_pieces() -> None:
    node = _Node()
    _asked(_streaming(_text("a"), _text("b"), _text("c", "length")), node)
    assert (node.events[-1]["tokens"], node.events[-1]["prompt_tokens"], node.events[-1]["stopped"]) == (3, 0, False)


def test_the_request_says_what_the_scenario_says_of_sampling() -> None:
    bodies: list[dict[str, Any]] = []

    async def take(request: web.Request) -> Any:
        bodies.append(await request.json())
        return await _streaming(_text("x"))(request)

    _asked(take, _Node())
    _asked(take, _Node())
    assert bodies[0] == bodies[1]  # the seed, too
    assert bodies[0]["messages"] == [{"role": "user", "content": "Why?"}]
    assert (bodies[0]["model"], bodies[0]["max_tokens"], bodies[0]["temperature"]) == ("m", 9, 0.5)
    assert bodies[0]["stream_options"] == {"include_usage": True}


async def _refuse(_: web.Request) -> web.Response:
    return web.json_response({"error": {"message": "no such model"}}, status=404)


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (_refuse, r"status 404: .*no such model"),
        (_streaming(_text("a"), {"error": {"message": "out of slots"}}), r"the server failed: .*out of slots"),
        (_streaming(b"{torn"), r"Expecting property name"),
        (_streaming(_text("a" * 2**21)), r"a line that is too long"),
        (_streaming(*[_text("a" * 2**17)] * 9), r"more than 1048576 characters"),
    ],
)
def test_a_server_that_fails_is_a_failed_job_with_its_reason(handler: Any, reason: str) -> None:
    node = _Node()
    with pytest.raises(JobError, match=reason):
        _asked(handler, node)
    assert node.events[-1]["event"] == "job_failed"


def test_nobody_who_listens_is_a_sentence() -> None:
    async def ask() -> None:
        async with ClientSession() as http:
            await ask_openai(_Node(), http, Answers(openai=1), Prompt("p1", "Why?"))

    with pytest.raises(JobError, match=r"^nothing listens on port 1 of a$"):
        asyncio.run(ask())


class TestFilesBroughtOut:
    """What a program leaves may be anything: links out of its directory, pipes, folders."""

    def _kept(self, own: Path, directory: Path, *names: str) -> list[str]:
        node: Any = SimpleNamespace(spec=SimpleNamespace(out=names), _own=own)
        ProgramNode.keep_files(node, directory)
        return sorted(path.name for path in directory.glob("*")) if directory.exists() else []

    def test_regular_files_are_copied(self, tmp_path: Path) -> None:
        own, kept = tmp_path / "own", tmp_path / "kept"
        own.mkdir()
        (own / "result.json").write_text("{}")
        assert self._kept(own, kept, "result.json", "missing.json") == ["result.json"]
        assert (kept / "result.json").read_text() == "{}"

    def test_links_pipes_and_folders_are_not_followed(self, tmp_path: Path) -> None:
        own, kept = tmp_path / "own", tmp_path / "kept"
        own.mkdir()
        (tmp_path / "secret").write_text("of the host")
        (own / "link").symlink_to(tmp_path / "secret")
        os.mkfifo(own / "pipe")
        (own / "folder").mkdir()
        assert self._kept(own, kept, "link", "pipe", "folder") == []


def test_secrets_stand_in_no_log() -> None:
    node: Any = object.__new__(ProgramNode)
    node._container = SimpleNamespace(logs=lambda: b"key is hush, really hush\n")
    node._secrets = {"KEY": "hush"}
    node.spec = SimpleNamespace(environment={"KEY": "env:MY_KEY"})
    assert node.logs() == b"key is env:MY_KEY, really env:MY_KEY\n"
    assert "hush" not in last_words(node.logs())
