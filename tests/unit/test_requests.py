"""Requests that come more than once."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from testbed.node.calls.requests import Ended, Requests, Running


class Work:
    """Counts how often it is done, and waits until it may end."""

    def __init__(self, error: Exception | None = None) -> None:
        self.times = 0
        self.error = error
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.times += 1
        await self.may_end.wait()
        if self.error:
            raise self.error
        return self.times


def _play(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 10))


def test_a_request_that_comes_while_the_first_is_at_work_joins_it() -> None:
    async def scene() -> None:
        requests, work = Requests[int]({}), Work()
        callers = [asyncio.create_task(requests.outcome("r", work)) for _ in range(3)]
        await asyncio.sleep(0)
        assert isinstance(requests.state("r"), Running)
        work.may_end.set()
        assert await asyncio.gather(*callers) == [1, 1, 1]

    _play(scene())


def test_a_request_that_comes_later_gets_the_outcome_that_was_kept() -> None:
    async def scene() -> None:
        requests, work = Requests[int]({"old": 7}), Work()
        work.may_end.set()
        assert [await requests.outcome("r", work) for _ in range(2)] == [1, 1]
        assert await requests.outcome("old", work) == 7
        assert requests.state("r") == Ended(1)

    _play(scene())


def test_a_caller_that_gives_up_stops_nothing() -> None:
    async def scene() -> None:
        requests, work = Requests[int]({}), Work()
        hasty = asyncio.create_task(requests.outcome("r", work))
        await asyncio.sleep(0)
        hasty.cancel()
        await asyncio.wait({hasty})
        work.may_end.set()
        assert await requests.outcome("r", work) == 1
        assert work.times == 1

    _play(scene())


def test_what_raises_was_not_done_and_is_done_anew(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        requests, work = Requests[int]({}), Work(OSError("full"))
        work.may_end.set()
        with pytest.raises(OSError, match="full"):
            await requests.outcome("r", work)
        assert requests.state("r") is None
        work.error = None
        assert await requests.outcome("r", work) == 2
        work.error = OSError("full")
        requests.begin("nobody waits", work)
        await asyncio.sleep(0)

    _play(scene())
    assert caplog.records == []


def test_no_more_outcomes_are_kept_than_asked_for_and_the_oldest_go_first() -> None:
    async def scene() -> None:
        requests, work, slow = Requests[int]({"a": 1, "b": 2}, kept=2), Work(), Work()
        work.may_end.set()
        running = requests.begin("slow", slow)
        await requests.outcome("c", work)
        assert [requests.state(name) for name in ("a", "b", "c")] == [None, Ended(2), Ended(1)]
        await requests.outcome("d", work)
        assert [requests.state(name) for name in ("b", "c", "d")] == [None, Ended(1), Ended(2)]
        assert isinstance(requests.state("slow"), Running), "what runs is not forgotten"
        slow.may_end.set()
        await running

    _play(scene())
