"""Events reach the host over the node's API: each once, whatever happens to the connection or to the node."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, UnixConnector, web

from testbed.core.clock import REAL_TIME
from testbed.node.event_log import EventWriter
from testbed.node.event_stream import EventApi
from testbed.node.journal import recall
from testbed.world.nodes.client import AgentClient
from testbed.world.nodes.feed import EventFeed
from testbed.world.nodes.handle import ClockOffset, NodeGoneError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@asynccontextmanager
async def _serving(log: EventWriter) -> AsyncIterator[Path]:
    """The API of a node that has nothing but its events; yields its socket."""
    application = web.Application()
    EventApi(log).add_to(application)
    runner = web.AppRunner(application)
    await runner.setup()
    socket = log.path.with_name("agent.sock")
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield socket
    finally:
        await runner.cleanup()


async def _take(client: AgentClient, into: list[Any], count: int) -> None:
    """Add events to a list until it has so many."""
    async for events in client.events(every=0.0):
        into += [event["n"] for event in events]
        if len(into) >= count:
            return


def _run(play: Any) -> Any:
    return asyncio.run(asyncio.wait_for(play, 30))


def test_what_was_written_before_comes_first_and_then_what_is_added(file: Path) -> None:
    log, seen = EventWriter(file, "a", REAL_TIME), list[int]()

    async def play() -> None:
        log.emit("x", n=0)
        async with _serving(log) as socket, AgentClient(socket) as client:
            taking = asyncio.create_task(_take(client, seen, 3))
            while seen != [0]:
                await asyncio.sleep(0)
            log.emit("x", n=1)
            await asyncio.to_thread(log.emit, "x", n=2)  # an inference traces from a thread of its own
            await taking

    _run(play())
    assert seen == [0, 1, 2]


def test_events_that_come_from_many_threads_at_once_all_arrive(file: Path) -> None:
    log, seen = EventWriter(file, "a", REAL_TIME), list[int]()

    async def play() -> None:
        async with _serving(log) as socket, AgentClient(socket) as client:
            taking = asyncio.create_task(_take(client, seen, 2000))
            await asyncio.gather(*(asyncio.to_thread(_emit_all, log, range(k, 2000, 4)) for k in range(4)))
            await taking

    _run(play())
    assert sorted(seen) == list(range(2000))


def _emit_all(log: EventWriter, numbers: Sequence[int]) -> None:
    for number in numbers:
        log.emit("x", n=number)


def test_a_restart_loses_no_event_and_doubles_none(file: Path) -> None:
    """The killed node's last line is cut off, and events that nobody had taken in lie before it."""
    seen = list[int]()

    async def play() -> None:
        first = EventWriter(file, "a", REAL_TIME)
        async with AgentClient(file.with_name("agent.sock")) as client:
            taking = asyncio.create_task(_take(client, seen, 4))
            async with _serving(first):
                first.emit("x", n=0)
                while not seen:
                    await asyncio.sleep(0)
            first.emit("x", n=1)
            with file.open("ab") as torn:
                torn.write(b'{"t": 1.0, "node": "a", "ev')
            recall(file)
            again = EventWriter(file, "a", REAL_TIME)
            again.emit("x", n=2)
            async with _serving(again):
                again.emit("x", n=3)
                await taking

    _run(play())
    assert seen == [0, 1, 2, 3]


def test_a_new_session_goes_on_where_the_last_one_stopped(file: Path) -> None:
    log, feed = EventWriter(file, "a", REAL_TIME), EventFeed(ClockOffset())

    async def play() -> tuple[list[Any], list[Any]]:
        seen = list[Any]()
        async with _serving(log) as socket:
            log.emit("x", n=0)
            async with AgentClient(socket, feed) as client:
                await _take(client, seen, 1)
            log.emit("x", n=1)
            async with AgentClient(socket, feed) as client:
                return seen, [event["n"] for event in await client.last_events()]

    assert _run(play()) == ([0], [1])


def test_the_shutdown_of_a_node_does_not_wait_for_its_streams(file: Path) -> None:
    log = EventWriter(file, "a", REAL_TIME)

    async def play() -> None:
        async with AsyncExitStack() as stack:
            seen = list[Any]()
            async with _serving(log) as socket:
                client = await stack.enter_async_context(AgentClient(socket))
                taking = asyncio.create_task(_take(client, seen, 2))
                log.emit("x", n=0)
                while not seen:
                    await asyncio.sleep(0)
            taking.cancel()

    _run(play())


def test_a_node_that_is_not_there_has_no_last_events(tmp_path: Path) -> None:
    async def play() -> None:
        async with AgentClient(tmp_path / "none.sock") as client:
            await client.last_events()

    with pytest.raises(NodeGoneError):
        _run(play())


def test_a_refusal_is_not_taken_for_events(file: Path) -> None:
    async def play() -> None:
        async with _serving(EventWriter(file, "a", REAL_TIME)) as socket, AgentClient(socket) as client:
            file.unlink()
            await client.last_events()

    with pytest.raises(NodeGoneError):
        _run(play())


@pytest.mark.parametrize("query", ["", "after=x", "after=-1", "after=0", "after=0&every=nan", "after=0&every=-1"])
def test_a_stream_that_is_asked_for_wrongly_is_refused(file: Path, query: str) -> None:
    async def play() -> tuple[int, str]:
        async with (
            _serving(EventWriter(file, "a", REAL_TIME)) as socket,
            ClientSession("http://agent", connector=UnixConnector(str(socket))) as session,
            session.get(f"/events/stream?{query}") as response,
        ):
            return response.status, await response.text()

    status, text = _run(play())
    assert status == 400
    assert "must be a number that is not below zero" in text


class TestFeed:
    def test_an_event_is_taken_when_it_is_whole_wherever_it_was_cut(self) -> None:
        lines = b"".join(
            json.dumps({"t": n, "text": "Zürich\u2028“”"}, ensure_ascii=False).encode() + b"\n" for n in (1, 2)
        )
        for cut in range(len(lines)):
            feed = EventFeed(ClockOffset())
            events = [*feed.take(lines[:cut]), *feed.take(lines[cut:])]
            assert [event["t"] for event in events] == [1, 2]
            assert feed.taken == len(lines)

    def test_what_a_connection_left_behind_is_asked_for_again(self) -> None:
        feed = EventFeed(ClockOffset())
        assert [event["t"] for event in feed.take(b'{"t": 1}\n{"t": 2')] == [1]
        assert feed.resume() == len(b'{"t": 1}\n')
        assert [event["t"] for event in feed.take(b'{"t": 2}\n')] == [2]

    def test_times_are_on_the_clock_of_the_run(self) -> None:
        feed = EventFeed(ClockOffset(seconds=100.0, error=0.001))
        assert [event["t"] for event in feed.take(b'{"t": 101.5}\n')] == [1.5]


def test_a_torn_line_is_removed_when_the_node_starts_again(file: Path) -> None:
    EventWriter(file, "a", REAL_TIME).emit("arrival", prompt="p1", text="why?")
    whole = file.read_bytes()
    os.truncate(file, len(whole))
    with file.open("ab") as torn:
        torn.write(whole[:-1])
    assert [prompt.id for prompt in recall(file).unfinished] == ["p1"]
    EventWriter(file, "a", REAL_TIME)
    assert file.read_bytes() == whole
