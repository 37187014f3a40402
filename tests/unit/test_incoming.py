"""What clients can send that is wrong, and what they can do to a node by it. Only the model is a fake."""

import asyncio
import gzip
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from loopback import free_port
from nodes import ADDRESSES, configured, node

from testbed.node.calls import asking

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, Any]]


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    free = free_port()
    monkeypatch.setattr(asking, "PORT", free)
    return free


@pytest.fixture
def connect(model: Any, make_trace: Callable[[str], Any], tmp_path: Path, port: int) -> Callable[[Client], Any]:
    """Speak with a node through a bare connection."""

    def run(client: Client) -> Any:
        async def play() -> Any:
            async with node(configured("a", {}), model, make_trace("a").trace, tmp_path, ADDRESSES["a"]):
                reader, writer = await asyncio.open_connection(ADDRESSES["a"], port)
                try:
                    return await client(reader, writer)
                finally:
                    writer.close()

        return asyncio.run(play())

    return run


def _request(body: bytes, *headers: bytes) -> bytes:
    first = (b"POST /v1/chat/completions HTTP/1.1", b"Host: a", b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(first) + b"\r\n\r\n" + body


def _chat(text: str) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}]}).encode()


async def _reply(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    (length,) = [line.partition(":")[2] for line in head.splitlines() if line.startswith("content-length")]
    return int(head.split()[1]), json.loads(await reader.readexactly(int(length)))


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ([b"X-Request-Id: \xff\xfe"], "X-Request-Id"),
        ([b"X-Request-Id: p1\t.1@a"], "X-Request-Id"),
        ([b"X-Request-Id: " + b"p" * 1001], "X-Request-Id"),
        ([b"X-Attempt: " + b"9" * 5000], "X-Attempt"),
        ([b"X-Attempt: 0"], "X-Attempt"),
        ([b"X-Attempt: second"], "X-Attempt"),
        ([b"X-Deadline: soon"], "X-Deadline"),
        ([b"X-Deadline: -1"], "X-Deadline"),
        ([b"X-Deadline: inf"], "X-Deadline"),
        ([b"X-Deadline: nan"], "X-Deadline"),
        ([b"Content-Encoding: gzip"], "Content-Encoding"),
        ([b"Content-Encoding: br"], "Content-Encoding"),
        ([b"Content-Encoding: nonsense"], "Content-Encoding"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_header_that_is_wrong_is_named(connect: Callable[[Client], Any], headers: list[bytes], param: str) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(_request(_chat("hi"), *headers))
        refused = await _reply(reader)
        writer.write(_request(_chat("hi")))
        return refused, await _reply(reader)

    (status, refusal), (next_status, _) = connect(client)
    assert (status, next_status) == (400, 200)
    assert refusal["error"]["type"] == "invalid_request_error"
    assert refusal["error"]["param"] == param
    assert param in refusal["error"]["message"]


def test_a_small_body_that_unpacks_to_a_large_one_is_not_unpacked(connect: Callable[[Client], Any], model: Any) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(_request(gzip.compress(b" " * 2**26), b"Content-Encoding: gzip"))
        return await _reply(reader)

    assert connect(client)[0] == 400
    assert model.seen == []


def test_a_chat_that_is_too_long_by_its_length_never_reaches_the_queue(
    connect: Callable[[Client], Any], model: Any, make_trace: Callable[[str], Any]
) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(_request(_chat("x" * 1_000_000)))
        return await _reply(reader)

    status, refusal = connect(client)
    message = "the chat has at least 100001 tokens; the context holds 100000"
    assert (status, refusal["error"]["message"]) == (400, message)
    assert (refusal["error"]["code"], refusal["error"]["param"]) == ("context_length_exceeded", "messages")
    assert model.seen == []
    assert make_trace("a").read("enqueue") == []


@pytest.mark.parametrize("announced", [b"Content-Length: 500", b"Transfer-Encoding: chunked"])
def test_a_client_that_leaves_in_mid_body_leaves_no_traceback(
    connect: Callable[[Client], Any], caplog: pytest.LogCaptureFixture, port: int, announced: bytes
) -> None:
    async def client(_: asyncio.StreamReader, leaving: asyncio.StreamWriter) -> Any:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n" + announced + b"\r\n\r\n"
        leaving.write(head + b"5\r\n{}")
        await leaving.drain()
        leaving.close()
        reader, writer = await asyncio.open_connection(ADDRESSES["a"], port)
        writer.write(_request(_chat("hi")))
        answer = await _reply(reader)
        writer.close()
        return answer

    assert connect(client)[0] == 200
    assert caplog.records == []


def test_a_body_that_is_no_proper_chunk_is_refused(
    connect: Callable[[Client], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"zz\r\n{}\r\n")
        return await reader.readline()

    assert b"400" in connect(client)
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_client_that_hangs_up_frees_its_place_in_the_queue(
    connect: Callable[[Client], Any], model: Any, make_trace: Callable[[str], Any], port: int
) -> None:
    model.held.clear()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(_request(_chat("first")))
        while not model.seen:
            await asyncio.sleep(0)
        _, leaving = await asyncio.open_connection(ADDRESSES["a"], port)
        leaving.write(_request(_chat("second")))
        while len(make_trace("a").read("enqueue")) < 2:
            await asyncio.sleep(0)
        leaving.close()
        while not make_trace("a").read("cancelled"):
            await asyncio.sleep(0)
        model.held.set()
        return await _reply(reader)

    assert connect(client)[0] == 200
    assert model.seen == ["first"]
    (event,) = make_trace("a").read("cancelled")
    assert (event["job"], event["reason"]) == ("request-2@a", "its connection has ended")


def test_of_a_thousand_mistakes_a_few_are_named(connect: Callable[[Client], Any]) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(_request(json.dumps({"messages": [{"role": "wizard"}] * 1000}).encode()))
        return await _reply(reader)

    status, refusal = connect(client)
    assert status == 400
    assert refusal["error"]["message"].count("messages.") == 10
    assert refusal["error"]["param"] == "messages"
