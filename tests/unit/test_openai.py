"""The OpenAI API as openai-python uses it. Its own models parse every answer; only the node's model is a fake."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import openai
import pytest
from loopback import free_port
from nodes import ADDRESSES, configured, node
from openai import AsyncOpenAI
from openai.types import Completion as OpenAiText
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from testbed.node.calls import asking
from testbed.patterns.participant import TokenLogProbability

HELLO: Any = [{"role": "user", "content": "hello"}]
Exchange = Callable[[AsyncOpenAI], Coroutine[Any, Any, Any]]
Ask = Callable[[Exchange], Any]


@pytest.fixture
def ask(model: Any, make_trace: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Speak with a node through openai-python, which is to repeat nothing by itself."""
    monkeypatch.setattr(asking, "PORT", port := free_port())

    def run(exchange: Exchange) -> Any:
        async def play() -> Any:
            async with (
                node(configured("a", {}, limit=4), model, make_trace("a").trace, tmp_path, ADDRESSES["a"]),
                AsyncOpenAI(base_url=f"http://{ADDRESSES['a']}:{port}/v1", api_key="-", max_retries=0) as client,
            ):
                return await exchange(client)

        return asyncio.run(play())

    return run


def _strictly(kind: Any, answer: Any) -> Any:
    """The answer again, with every field checked: the client itself takes what comes."""
    return kind.model_validate(answer.model_dump(), strict=False)


def _chat(ask: Ask, **fields: Any) -> ChatCompletion:
    async def exchange(client: AsyncOpenAI) -> Any:
        return await client.chat.completions.create(**{"model": "zoo/a", "messages": HELLO, **fields})

    answer: ChatCompletion = _strictly(ChatCompletion, ask(exchange))
    return answer


def _chunks(ask: Ask, **fields: Any) -> list[ChatCompletionChunk]:
    async def exchange(client: AsyncOpenAI) -> Any:
        asked = {"model": "zoo/a", "messages": HELLO, "stream": True, **fields}
        return [_strictly(ChatCompletionChunk, chunk) async for chunk in await client.chat.completions.create(**asked)]

    chunks: list[ChatCompletionChunk] = ask(exchange)
    return chunks


def _joined(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def test_a_chat_is_completed(ask: Ask) -> None:
    answer = _chat(ask)
    assert [choice.message.content for choice in answer.choices] == ["HELLO"]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (5, 2, 7)


def test_a_stream_is_the_plain_answer_in_parts(ask: Ask) -> None:
    chunks = _chunks(ask, stream_options={"include_usage": True})
    assert [choice.delta.content for chunk in chunks for choice in chunk.choices] == ["H", "ELLO", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 7
    assert {chunk.id for chunk in chunks} == {"request-1@a"}


def test_usage_is_streamed_only_where_it_is_asked_for(ask: Ask) -> None:
    assert all(chunk.usage is None for chunk in _chunks(ask))


def test_each_part_leaves_before_the_next_is_there(ask: Ask, model: Any) -> None:
    model.pausing.clear()

    async def exchange(client: AsyncOpenAI) -> list[str | None]:
        stream = await client.chat.completions.create(model="zoo/a", messages=HELLO, stream=True)
        first = await anext(aiter(stream))
        model.pausing.set()
        rest = [chunk.choices[0].delta.content async for chunk in stream]
        return [first.choices[0].delta.content, *rest]

    assert ask(exchange) == ["H", "ELLO", None]


def test_several_choices_are_as_many_jobs(ask: Ask, model: Any, make_trace: Callable[[str], Any]) -> None:
    answer = _chat(ask, n=3, seed=5)
    assert [(choice.index, choice.message.content) for choice in answer.choices] == [(n, "HELLO") for n in range(3)]
    assert [sampling.seed for sampling in model.samplings] == [5, 6, 7]
    jobs = [event["job"] for event in make_trace("a").read("enqueue")]
    assert jobs == ["request-1@a", "request-1~2@a", "request-1~3@a"]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 6)


def test_several_choices_are_streamed(ask: Ask) -> None:
    chunks = _chunks(ask, n=2)
    assert [_joined(chunks, index) for index in range(2)] == ["HELLO", "HELLO"]


def test_more_choices_than_the_queue_holds_are_refused_and_none_is_left(
    ask: Ask, make_trace: Callable[[str], Any]
) -> None:
    async def exchange(client: AsyncOpenAI) -> None:
        with pytest.raises(openai.InternalServerError, match="the queue is full") as caught:
            await client.chat.completions.create(model="zoo/a", messages=HELLO, n=8)
        assert caught.value.status_code == 503
        assert (await client.chat.completions.create(model="zoo/a", messages=HELLO)).choices

    ask(exchange)
    assert make_trace("a").read("cancelled")
    ended = make_trace("a").read("end", "cancelled", "job_failed")
    assert sorted(e["job"] for e in ended) == sorted(e["job"] for e in make_trace("a").read("enqueue"))


def test_log_probabilities(ask: Ask, model: Any) -> None:
    likely = ((b"HE", -0.1), ("🤝".encode()[:2], -2.5))
    model.token_logprobs = (TokenLogProbability(b"HE", -0.1, likely), TokenLogProbability("é".encode(), -0.2))
    logprobs = _chat(ask, logprobs=True, top_logprobs=2).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [(token.token, token.logprob, token.bytes) for token in logprobs.content] == [
        ("HE", -0.1, [72, 69]),
        ("é", -0.2, [195, 169]),
    ]
    assert [token.bytes for token in logprobs.content[0].top_logprobs] == [[72, 69], [240, 159]]
    assert model.samplings[-1].top_logprobs == 2
    last = _chunks(ask, logprobs=True)[-1].choices[0].logprobs
    assert last is not None
    assert last.content is not None
    assert [token.token for token in last.content] == ["HE", "é"]
    assert _chat(ask).choices[0].logprobs is None


def test_texts_are_continued(ask: Ask, model: Any) -> None:
    async def exchange(client: AsyncOpenAI) -> Any:
        return await client.completions.create(model="zoo/a", prompt=["one", "two"], n=2, logprobs=1)

    model.token_logprobs = (TokenLogProbability(b"ON", -0.5, ((b"ON", -0.5),)), TokenLogProbability(b"E", -1.0))
    answer = _strictly(OpenAiText, ask(exchange))
    assert [choice.text for choice in answer.choices] == ["ONE", "ONE", "TWO", "TWO"]
    assert answer.choices[0].logprobs.text_offset == [0, 2]
    assert answer.choices[0].logprobs.top_logprobs == [{"ON": -0.5}, {}]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 8)


def test_a_text_is_continued_as_a_stream(ask: Ask) -> None:
    async def exchange(client: AsyncOpenAI) -> Any:
        stream = await client.completions.create(model="zoo/a", prompt="one", stream=True)
        return [chunk.choices[0].text async for chunk in stream]

    assert ask(exchange) == ["O", "NE", ""]


def test_fields_reach_the_model(ask: Ask, model: Any) -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    _chat(ask, messages=messages, stop=["\n", "###"], temperature=0, seed=-1, max_completion_tokens=7)
    sampling = model.samplings[-1]
    assert model.seen == ["hello"]
    assert model.roles == ["system", "user"]
    assert (sampling.stop, sampling.temperature, sampling.max_tokens) == (("\n", "###"), 0, 7)
    _chat(ask, stop="END", seed=2**32 - 1)
    assert (model.samplings[-1].stop, model.samplings[-1].ignore_eos) == (("END",), False)
    assert all(0 <= sampling.seed < 2**32 - 1 for sampling in model.samplings)
    assert len({sampling.seed for sampling in model.samplings}) == 2


def test_an_answer_can_ignore_its_end(ask: Ask, model: Any) -> None:
    _chat(ask, extra_body={"ignore_eos": True})
    assert model.samplings[-1].ignore_eos


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_formats_become_grammars(ask: Ask, model: Any) -> None:
    _chat(ask, response_format={"type": "json_object"})
    assert "root ::= object" in " ".join(model.samplings[-1].grammar.split())
    _chat(ask, response_format={"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}})
    assert r"\"city\"" in model.samplings[-1].grammar
    _chat(ask, response_format={"type": "text"})
    assert model.samplings[-1].grammar is None


def _deep(levels: int) -> dict[str, Any]:
    return {"type": "array", "items": _deep(levels - 1)} if levels else {"type": "string"}


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": [TOOL]}, "tools: is not supported"),
        ({"messages": [IMAGE]}, "'image_url' is not supported"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "x", "name": "me"}]}, "messages.0.name: is not supported"),
        ({"logit_bias": {"5": 100}}, "logit_bias: is not supported"),
        ({"presence_penalty": 0.5}, "presence_penalty: is not supported"),
        ({"audio": {"voice": "a", "format": "wav"}}, "audio: is not supported"),
        ({"extra_body": {"top_k": 3}}, "top_k: is not supported"),
        ({"top_logprobs": 3}, "top_logprobs: only with logprobs"),
        ({"stop": [""]}, "stop"),
        ({"stop": "x" * 257}, "stop"),
        ({"seed": 2**64}, "seed"),
        ({"extra_body": {"metadata": {"k": "x" * 513}}}, "metadata"),
        ({"extra_body": {"ignore_eos": True}, "stop": "x"}, "ignore_eos: not with stop"),
        (
            {"extra_body": {"ignore_eos": True}, "response_format": {"type": "json_object"}},
            "not with ignore_eos: its grammar ends the answer",
        ),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "choices", "choices": []}}, "choices: List should have at least 1 item"),
        ({"response_format": {"type": "choices", "choices": ["A\n"]}}, r"'A\n' is no choice"),
        *(
            ({"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}}, message)
            for schema, message in [
                (_deep(40), "nested deeper than 16"),
                ({"type": "integer", "minimum": 3}, "'minimum' is not supported"),
                ({"$ref": "https://example.com/x"}, "must begin with #/"),
                ({"$ref": "#/$defs/none"}, "cannot be made a grammar"),
                ({"type": "array", "items": {"type": "string"}, "maxItems": 10**9}, "'maxItems' must be a number"),
                ({"enum": ["x" * 20_000]}, "larger than"),
                ({"type": "string", "format": "ipv4"}, "format 'ipv4' is not supported"),
                ({"type": "string", "pattern": "^a$"}, "'pattern' is not supported"),
            ]
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_is_not_supported_is_refused_by_its_name(
    ask: Ask, model: Any, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        _chat(ask, **fields)
    assert message in caught.value.message
    assert caught.value.param
    assert model.seen == []


def test_fields_that_ask_for_nothing_are_accepted(ask: Ask) -> None:
    nothing = {"tools": [], "tool_choice": "none", "logit_bias": {}, "presence_penalty": 0, "n": None, "stop": None}
    assert _chat(ask, extra_body={**nothing, "user": "me", "store": False, "service_tier": "auto"}).choices


def test_a_chat_that_is_too_long_is_told_by_its_code(ask: Ask, model: Any) -> None:
    model.longest = 3
    with pytest.raises(openai.BadRequestError) as caught:
        _chat(ask)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(openai.BadRequestError, match="at least 4 tokens; the context holds 3"):
        _chunks(ask)


def test_a_stream_that_fails_after_its_beginning_says_so_in_the_stream(ask: Ask, model: Any) -> None:
    model.breaking = RuntimeError("llama_decode returned 1")
    with pytest.raises(openai.APIError, match="llama_decode returned 1"):
        _chunks(ask)


def test_the_model_is_known_by_its_name(ask: Ask) -> None:
    async def exchange(client: AsyncOpenAI) -> Any:
        with pytest.raises(openai.NotFoundError) as caught:
            await client.models.retrieve("zoo/b")
        assert caught.value.code == "model_not_found"
        return await client.models.retrieve("zoo/a"), [known async for known in client.models.list()]

    one, (listed,) = ask(exchange)
    assert _strictly(Model, one) == _strictly(Model, listed)
    assert (one.id, one.owned_by) == ("zoo/a", "testbed")
    assert one.created > 0


def test_a_client_that_leaves_a_stream_frees_its_place(ask: Ask, model: Any, make_trace: Callable[[str], Any]) -> None:
    model.pausing.clear()

    async def exchange(client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(model="zoo/a", messages=HELLO, stream=True)
        await anext(aiter(stream))
        await stream.close()
        while not make_trace("a").read("late"):
            await asyncio.sleep(0)
        model.pausing.set()
        while not make_trace("a").read("job_failed"):
            await asyncio.sleep(0)
        assert (await client.chat.completions.create(model="zoo/a", messages=HELLO)).choices

    ask(exchange)
    (event,) = make_trace("a").read("job_failed")
    assert (event["job"], event["reason"]) == ("request-1@a", "its connection has ended")


def test_a_named_stream_outlives_its_client(ask: Ask, model: Any, make_trace: Callable[[str], Any]) -> None:
    model.pausing.clear()
    named: Any = {"model": "zoo/a", "messages": HELLO, "extra_headers": {"X-Request-Id": "p1.1@a"}}

    async def exchange(client: AsyncOpenAI) -> Any:
        stream = await client.chat.completions.create(**named, stream=True)
        await anext(aiter(stream))
        await stream.close()
        while not make_trace("a").read("late"):
            await asyncio.sleep(0)
        model.pausing.set()
        return [chunk async for chunk in await client.chat.completions.create(**named, stream=True)]

    assert _joined(ask(exchange)) == "HELLO"
    assert model.seen == ["hello"]


def test_no_client_takes_the_name_of_a_request_without_one(ask: Ask, model: Any) -> None:
    async def exchange(client: AsyncOpenAI) -> list[str]:
        named: Any = {"extra_headers": {"X-Request-Id": "request-1@a"}}
        other: Any = [{"role": "user", "content": "other"}]
        first = await client.chat.completions.create(model="zoo/a", messages=HELLO, **named)
        second = await client.chat.completions.create(model="zoo/a", messages=other)
        return [first.id, second.id]

    assert ask(exchange) == ["request-1@a", "request-2@a"]
    assert model.seen == ["hello", "other"]


def test_a_request_is_cancelled_with_all_its_jobs(ask: Ask, model: Any, make_trace: Callable[[str], Any]) -> None:
    model.held.clear()

    async def exchange(client: AsyncOpenAI) -> None:
        named: Any = {"extra_headers": {"X-Request-Id": "p1.1@a"}}
        asked = asyncio.create_task(client.chat.completions.create(model="zoo/a", messages=HELLO, n=3, **named))
        while len(make_trace("a").read("enqueue")) < 3 or not model.seen:
            await asyncio.sleep(0)
        await client.delete("/calls/p1.1@a", cast_to=str)
        model.held.set()
        with pytest.raises(openai.InternalServerError, match="cancelled"):
            await asked

    ask(exchange)
    assert [event["job"] for event in make_trace("a").read("cancelled")] == ["p1.1~2@a", "p1.1~3@a"]


def test_the_node_says_that_it_serves(ask: Ask) -> None:
    async def exchange(client: AsyncOpenAI) -> Any:
        return json.loads(await client.with_options().get("/../health", cast_to=str))

    assert ask(exchange) == {"status": "ok"}
