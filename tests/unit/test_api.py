"""A node's API over real HTTP: on a Unix socket for the host, on TCP for other nodes. Only the model is a fake."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import loopback
import pytest
from aiohttp import ClientSession, UnixConnector
from loopback import free_port
from nodes import ADDRESSES, configured, node

from testbed.node.api import LARGEST_REQUEST
from testbed.node.calls import asking
from testbed.node.engine.model import ContextOverflowError
from testbed.node.journal import recall
from testbed.patterns.horizontal.aggregation import INSTRUCTION
from testbed.patterns.participant import JobError, Prompt
from testbed.patterns.protocol import ChatOptions
from testbed.world.nodes.client import AgentClient
from testbed.world.nodes.handle import NodeGoneError

CHAT = {"model": "zoo/a", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]}
MakeTrace = Callable[[str], Any]


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port in the place of the fixed one that agents have in a network of their own."""
    free = free_port()
    monkeypatch.setattr(asking, "PORT", free)
    return free


@asynccontextmanager
async def _node(*arguments: Any) -> AsyncIterator[Path]:
    async with node(*arguments) as (path, _):
        yield path


Talk = Callable[[Callable[[ClientSession], Coroutine[Any, Any, Any]]], Any]


@pytest.fixture(params=["tcp", "unix"])
def talk(request: pytest.FixtureRequest, model: Any, make_trace: MakeTrace, tmp_path: Path) -> Talk:
    """Speak with one node as a client, over both of its sockets."""

    def run(exchange: Callable[[ClientSession], Coroutine[Any, Any, Any]]) -> Any:
        async def play() -> Any:
            async with _node(configured("a", {}), model, make_trace("a").trace, tmp_path, ADDRESSES["a"]) as path:
                connector = UnixConnector(str(path)) if request.param == "unix" else None
                async with ClientSession(f"http://{ADDRESSES['a']}:{asking.PORT}", connector=connector) as session:
                    return await exchange(session)

        return asyncio.run(play())

    return run


def _post(talk: Talk, body: object, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    async def exchange(session: ClientSession) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with session.post("/v1/chat/completions", data=data, headers=headers) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    outcome: tuple[int, dict[str, Any]] = talk(exchange)
    return outcome


def test_a_completion_has_the_shape_of_the_openai_api(talk: Talk) -> None:
    status, answer = _post(talk, CHAT)
    assert status == 200
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "id": "request-1@a",
        "object": "chat.completion",
        "model": "zoo/a",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "HI"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
    }


def test_a_completion_that_was_cut_off_says_so(talk: Talk) -> None:
    _, answer = _post(talk, {**CHAT, "max_tokens": 2})
    assert answer["choices"][0]["finish_reason"] == "length"


def test_the_request_says_how_to_sample_and_the_scenario_says_the_rest(talk: Talk, model: Any) -> None:
    _post(talk, {**CHAT, "temperature": 0, "max_tokens": 5, "seed": 9, "top_p": 0.5})
    _post(talk, {**CHAT, "max_tokens": 5, "max_completion_tokens": 6})
    asked, default = model.samplings
    assert (asked.temperature, asked.max_tokens, asked.seed, asked.top_p) == (0, 5, 9, 0.5)
    assert (default.temperature, default.max_tokens, default.top_p) == (0.25, 6, 0.95)


def test_the_scenarios_stops_end_every_answer(model: Any, make_trace: MakeTrace, tmp_path: Path, port: int) -> None:
    config = configured("a", {}).model_copy(update={"chat": ChatOptions(stop=("\n",))})

    async def play() -> int:
        async with (
            _node(config, model, make_trace("a").trace, tmp_path, ADDRESSES["a"]),
            ClientSession(f"http://{ADDRESSES['a']}:{port}") as session,
            session.post("/v1/chat/completions", json={**CHAT, "stop": "END"}) as response,
        ):
            return response.status

    assert asyncio.run(play()) == 200
    assert model.samplings[0].stop == ("\n", "END")


def test_a_request_that_names_itself_samples_the_same_every_time(talk: Talk, model: Any) -> None:
    for name in ("p1.1@a", "p1.1@a", "p2.1@a"):
        _post(talk, CHAT, {"X-Request-Id": name})
    first, again, other = (sampling.seed for sampling in model.samplings)
    assert first == again != other


def test_fields_of_other_clients_are_ignored(talk: Talk, make_trace: MakeTrace) -> None:
    status, _ = _post(talk, {**CHAT, "user": "me", "store": False, "metadata": {"job": "x", "t": "y", "prompt": "p9"}})
    assert status == 200
    (event,) = make_trace("a").read("enqueue")
    assert (event["job"], event["prompt"]) == ("request-1@a", "p9")
    assert isinstance(event["t"], float)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "Invalid JSON"),
        (b"{", 400, "Invalid JSON"),
        (b"\xff\xfe", 400, "Invalid JSON"),
        (b"[]", 400, "object"),
        ({}, 400, "messages: Field required"),
        ({"messages": []}, 400, "messages: "),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, 400, "messages.0.role: "),
        ({"messages": [{"role": "user"}]}, 400, "messages.0.content: Field required"),
        ({**CHAT, "stream_options": {"include_usage": True}}, 400, "stream_options: only with stream"),
        ({**CHAT, "n": 17}, 400, "n: "),
        ({**CHAT, "model": "zoo/b"}, 404, "there is no model 'zoo/b'; this node has zoo/a"),
        ({**CHAT, "temperature": 3}, 400, "temperature: "),
        ({**CHAT, "max_tokens": 0}, 400, "max_tokens: "),
        (b" " * (LARGEST_REQUEST + 1), 413, "exceeded"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refusals_have_the_form_of_openais_errors(talk: Talk, body: object, status: int, message: str) -> None:
    code, answer = _post(talk, body)
    assert code == status
    assert set(answer) == {"error"}
    assert answer["error"]["type"] == "invalid_request_error"
    assert message in answer["error"]["message"]
    assert not answer["error"]["message"].startswith(":")


@pytest.mark.parametrize(
    "error",
    [ContextOverflowError("the chat has 600 tokens; the context holds 512"), ValueError("roles must alternate")],
)
def test_a_chat_that_the_model_cannot_take_is_refused_and_the_next_is_answered(
    talk: Talk, model: Any, error: Exception
) -> None:
    model.errors["hi"] = error
    status, answer = _post(talk, CHAT)
    assert (status, answer["error"]["message"]) == (400, str(error))
    model.errors.clear()
    assert _post(talk, CHAT)[0] == 200


def test_the_model_is_listed(talk: Talk) -> None:
    async def exchange(session: ClientSession) -> Any:
        async with session.get("/v1/models") as response:
            return await response.json()

    assert talk(exchange)["data"][0]["id"] == "zoo/a"


def test_unknown_paths_and_methods_are_refused_in_the_same_form(talk: Talk) -> None:
    async def exchange(session: ClientSession) -> list[tuple[int, Any]]:
        refused = []
        for method, path in (("GET", "/v1/embeddings"), ("GET", "/v1/chat/completions")):
            async with session.request(method, path) as response:
                refused.append((response.status, (await response.json())["error"]["type"]))
        return refused

    assert talk(exchange) == [(404, "invalid_request_error"), (405, "invalid_request_error")]


def test_the_network_cannot_hand_over_prompts(model: Any, make_trace: MakeTrace, tmp_path: Path, port: int) -> None:
    """``/prompts`` and ``/neighbours`` are the host's alone."""

    async def play() -> list[int]:
        async with (
            _node(configured("a", {}), model, make_trace("a").trace, tmp_path, ADDRESSES["a"]),
            ClientSession(f"http://{ADDRESSES['a']}:{port}") as session,
        ):
            async with session.post("/prompts", json={"id": "p1", "text": "hi"}) as prompts:
                pass
            async with session.get("/neighbours") as neighbours:
                pass
            return [prompts.status, neighbours.status]

    assert asyncio.run(play()) == [404, 404]
    assert model.seen == []


@asynccontextmanager
async def _two_nodes(
    models: dict[str, Any], make_trace: MakeTrace, directory: Path, **options: Any
) -> AsyncIterator[dict[str, AgentClient]]:
    """Nodes a and b, each the other's neighbour, and a client for each."""
    async with AsyncExitStack() as stack:
        clients = {}
        for name in ADDRESSES:
            config = configured(name, {other: ADDRESSES[other] for other in ADDRESSES if other != name}, **options)
            node = _node(config, models[name], make_trace(name).trace, directory, ADDRESSES[name])
            clients[name] = await stack.enter_async_context(AgentClient(await stack.enter_async_context(node)))
        yield clients


@pytest.fixture
def models(model: Any) -> dict[str, Any]:
    return {"a": model, "b": type(model)()}


def test_two_agents_answer_each_others_prompts(models: dict[str, Any], make_trace: MakeTrace, tmp_path: Path) -> None:
    async def play() -> tuple[str, ...]:
        async with _two_nodes(models, make_trace, tmp_path) as clients:
            prompts = [clients["a"].answer(Prompt("p1", "why?")), clients["b"].answer(Prompt("p2", "how?"))]
            return tuple(await asyncio.gather(*prompts))

    final = "{q}\nResponse-1: {r}\nResponse-2: {r}\n" + INSTRUCTION
    first, second = final.format(q="why?", r="WHY?"), final.format(q="how?", r="HOW?")
    assert asyncio.run(play()) == (first.upper(), second.upper())
    assert sorted(models["a"].seen) == sorted(["why?", "how?", first])
    assert sorted(models["b"].seen) == sorted(["why?", "how?", second])


def test_both_ends_of_every_message_are_traced_under_one_name_with_the_same_size(
    models: dict[str, Any], make_trace: MakeTrace, tmp_path: Path
) -> None:
    async def play() -> None:
        async with _two_nodes(models, make_trace, tmp_path) as clients:
            await clients["a"].answer(Prompt("p1", "why?"))

    asyncio.run(play())
    ends = {
        (node, event["event"], event["message"], event["peer"]): event["bytes"]
        for node in ADDRESSES
        for event in make_trace(node).read("send", "receive")
    }
    assert set(ends) == {
        ("a", "send", "p1.1@b/request", "b"),
        ("b", "receive", "p1.1@b/request", "a"),
        ("b", "send", "p1.1@b/response", "a"),
        ("a", "receive", "p1.1@b/response", "b"),
    }
    for message in ("p1.1@b/request", "p1.1@b/response"):
        assert len({size for (_, _, name, _), size in ends.items() if name == message}) == 1
    jobs = {event["job"]: event for node in ADDRESSES for event in make_trace(node).read("enqueue")}
    assert set(jobs) == {"p1.1@a", "p1.1@b", "p1.2@a"}
    assert {(job["prompt"], job["owner"]) for job in jobs.values()} == {("p1", "a")}


@pytest.mark.parametrize("trouble", ["fails", "is late"])
def test_a_neighbour_in_trouble_is_left_out_and_the_prompt_is_answered(
    models: dict[str, Any], make_trace: MakeTrace, tmp_path: Path, trouble: str
) -> None:
    if trouble == "fails":
        models["b"].errors["why?"] = RuntimeError("broken")
    else:
        models["b"].held.clear()

    async def play() -> str:
        timeout = "10s" if trouble == "fails" else "50ms"
        async with _two_nodes(models, make_trace, tmp_path, timeout=timeout) as clients:
            answer = await clients["a"].answer(Prompt("p1", "why?"))
            models["b"].held.set()
            return answer

    assert asyncio.run(play()) == f"why?\nResponse-1: WHY?\n{INSTRUCTION}".upper()
    (event,) = make_trace("a").read("ask_failed")
    assert (event["message"], event["peer"]) == ("p1.1@b/request", "b")
    assert event["reason"] == {"fails": "broken", "is late": "no answer within 0.05s"}[trouble]


def test_a_prompt_whose_owner_fails_is_told_why(models: dict[str, Any], make_trace: MakeTrace, tmp_path: Path) -> None:
    models["a"].errors["why?"] = RuntimeError("broken")

    async def play() -> None:
        async with _two_nodes(models, make_trace, tmp_path) as clients:
            await clients["a"].answer(Prompt("p1", "why?"))

    with pytest.raises(JobError, match="broken"):
        asyncio.run(play())
    (event,) = make_trace("a").read("failed")
    assert (event["prompt"], event["reason"]) == ("p1", "broken")


def test_neighbours_are_reached_or_not(models: dict[str, Any], make_trace: MakeTrace, tmp_path: Path) -> None:
    async def play() -> dict[str, float | None]:
        config = configured("a", {"b": ADDRESSES["b"], "nobody": loopback.address(99)})
        async with (
            _node(configured("b", {}), models["b"], make_trace("b").trace, tmp_path, ADDRESSES["b"]),
            _node(config, models["a"], make_trace("a").trace, tmp_path, ADDRESSES["a"]) as path,
            AgentClient(path) as client,
        ):
            return await client.reach()

    reached = asyncio.run(play())
    assert reached["b"] is not None
    assert reached["nobody"] is None


def test_an_agent_that_is_not_there_is_gone(tmp_path: Path) -> None:
    async def play() -> None:
        async with AgentClient(tmp_path / "none.sock", away=0.01) as client:
            await client.answer(Prompt("p1", "why?"))

    with pytest.raises(NodeGoneError):
        asyncio.run(play())


REQUEST = {**CHAT, "metadata": {"prompt": "p1", "layer": "1", "owner": "b"}}


def test_a_repeated_request_joins_the_running_job_or_gets_the_kept_answer(
    talk: Talk, model: Any, make_trace: MakeTrace
) -> None:
    model.held.clear()

    async def exchange(session: ClientSession) -> list[Any]:
        async def ask(attempt: int) -> Any:
            headers = {"X-Request-Id": "p1.1@a", "X-Attempt": str(attempt)}
            async with session.post("/v1/chat/completions", json=REQUEST, headers=headers) as response:
                return (await response.json())["choices"]

        both = [asyncio.create_task(ask(attempt)) for attempt in (1, 2)]
        while not make_trace("a").read("duplicate"):
            await asyncio.sleep(0)
        model.held.set()
        return [*await asyncio.gather(*both), await ask(3)]

    first, second, third = talk(exchange)
    assert first == second == third
    assert model.seen == ["hi"]
    states = [(event["job"], event["state"]) for event in make_trace("a").read("duplicate")]
    assert states == [("p1.1@a", "running"), ("p1.1@a", "done")]
    sent = {event["message"] for event in make_trace("a").read("send")}
    assert sent == {"p1.1@a/response", "p1.1@a/response-2", "p1.1@a/response-3"}


def test_a_full_queue_answers_at_once_in_the_form_of_openais_errors(
    model: Any, make_trace: MakeTrace, tmp_path: Path, port: int
) -> None:
    model.held.clear()

    async def play() -> tuple[int, Any]:
        node = _node(configured("a", {}, limit=1), model, make_trace("a").trace, tmp_path, ADDRESSES["a"])
        async with node, ClientSession(f"http://{ADDRESSES['a']}:{port}") as session:
            first = asyncio.create_task(_status(session))
            while not model.seen:
                await asyncio.sleep(0)
            async with session.post("/v1/chat/completions", json=CHAT) as response:
                refused = response.status, await response.json()
            model.held.set()
            assert await first == 200
            assert await _status(session) == 200
            return refused

    status, body = asyncio.run(play())
    assert (status, body) == (
        503,
        {"error": {"message": "the queue is full (1 jobs)", "type": "server_error", "param": None, "code": None}},
    )


async def _status(session: ClientSession) -> int:
    async with session.post("/v1/chat/completions", json={"messages": CHAT["messages"]}) as response:
        return response.status


def test_an_asker_goes_on_without_a_neighbour_whose_queue_is_full(
    models: dict[str, Any], make_trace: MakeTrace, tmp_path: Path, port: int
) -> None:
    models["b"].held.clear()

    async def play() -> str:
        async with (
            _two_nodes(models, make_trace, tmp_path, limit=1) as clients,
            ClientSession(f"http://{ADDRESSES['b']}:{port}") as session,
        ):
            occupying = asyncio.create_task(_status(session))
            while not models["b"].seen:
                await asyncio.sleep(0)
            answer = await clients["a"].answer(Prompt("p1", "why?"))
            models["b"].held.set()
            await occupying
            return answer

    assert asyncio.run(play()) == f"why?\nResponse-1: WHY?\n{INSTRUCTION}".upper()
    (event,) = make_trace("a").read("ask_failed")
    assert (event["peer"], event["reason"]) == ("b", "the queue is full (1 jobs)")
    assert make_trace("a").read("retry") == []
    assert [event["job"] for event in make_trace("b").read("rejected")] == ["p1.1@b"]


def test_a_late_neighbour_is_asked_twice_works_once_and_its_answers_are_noted_as_late(
    models: dict[str, Any], make_trace: MakeTrace, tmp_path: Path
) -> None:
    models["b"].held.clear()

    async def play() -> None:
        async with _two_nodes(models, make_trace, tmp_path, timeout="2s") as clients:
            await clients["a"].answer(Prompt("p1", "why?"))
            models["b"].held.set()
            while len(make_trace("b").read("late")) < 2:
                await asyncio.sleep(0)

    asyncio.run(play())
    (retry,) = make_trace("a").read("retry")
    assert (retry["message"], retry["peer"], retry["reason"]) == ("p1.1@b/request", "b", "no answer within 1s")
    assert {event["message"] for event in make_trace("b").read("late")} == {"p1.1@b/response", "p1.1@b/response-2"}
    assert models["b"].seen == ["why?"]


def test_a_prompt_that_is_handed_over_again_is_worked_out_once(
    models: dict[str, Any], make_trace: MakeTrace, tmp_path: Path
) -> None:
    async def play() -> list[str]:
        async with _two_nodes(models, make_trace, tmp_path) as clients:
            together = [clients["a"].answer(Prompt("p1", "why?")) for _ in range(2)]
            return [*await asyncio.gather(*together), await clients["a"].answer(Prompt("p1", "why?"))]

    assert len(set(asyncio.run(play()))) == 1
    assert len(models["a"].seen) == 2
    assert [event["prompt"] for event in make_trace("a").read("arrival", "answer")] == ["p1", "p1"]


def test_a_node_that_is_started_again_ends_its_prompts_and_does_nothing_twice(
    model: Any, make_trace: MakeTrace, tmp_path: Path
) -> None:
    """It is cut off in the second layer; whoever waits for the prompt sees no more than that it takes longer."""
    traced, config = make_trace("a"), configured("a", {}, layers=2)
    second = f"why?\nResponse-1: WHY?\n{INSTRUCTION}"
    first, again = type(model)(stuck_at=second), type(model)()

    async def play() -> str:
        async with AgentClient(tmp_path / "a.sock", away=20) as client:
            asking = asyncio.create_task(client.answer(Prompt("p1", "why?")))
            async with _node(config, first, traced.trace, tmp_path, ADDRESSES["a"]):
                while second not in first.seen:
                    await asyncio.sleep(0)
            async with _node(config, again, traced.trace, tmp_path, ADDRESSES["a"], recall(traced.path)):
                return await asking

    answer = asyncio.run(play())
    first.held.set()
    third = f"why?\nResponse-1: {second.upper()}\n{INSTRUCTION}"
    assert answer == third.upper()
    assert again.seen == [second, third], "the first layer was done in the life before"
    assert [event["prompt"] for event in traced.read("arrival", "resumed", "answer")] == ["p1", "p1", "p1"]
