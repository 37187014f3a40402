"""Two hundred requests that nobody thought of, at a node whose model is a fake."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from api_fuzzing import Request, check, exchange, requests
from hypothesis import HealthCheck, given, settings
from loopback import free_port
from nodes import ADDRESSES, configured, node

from testbed.node.calls import asking


@pytest.fixture
def connect(
    model: Any, make_trace: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], socket.socket]]:
    """A node in a thread, and how to reach it."""
    monkeypatch.setattr(asking, "PORT", port := free_port())
    loop, standing, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def stand() -> None:
        async with node(configured("a", {}), model, make_trace("a").trace, tmp_path, ADDRESSES["a"]):
            standing.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[stand()])
    thread.start()
    assert standing.wait(30)
    yield lambda: socket.create_connection((ADDRESSES["a"], port), timeout=30)
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


def test_no_request_makes_a_node_fail(connect: Callable[[], socket.socket], caplog: pytest.LogCaptureFixture) -> None:
    @settings(
        max_examples=200,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(requests(large=False))
    def ask(request: Request) -> None:
        with closing(connect()) as connection:
            check(exchange(connection, request))

    ask()
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
