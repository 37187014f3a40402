"""The queue in front of a node's model."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from testbed.node.engine.model import ContextOverflowError, Sampling
from testbed.node.engine.queue import InferenceQueue, OverloadedError
from testbed.patterns.participant import Completion, JobError
from testbed.patterns.protocol import QueueOptions

ROOMY = QueueOptions()
SAMPLING = Sampling(temperature=0.5, max_tokens=8, seed=1)


@pytest.fixture
def traced(make_trace: Callable[[str], Any]) -> Any:
    return make_trace("a")


@asynccontextmanager
async def _serving(model: Any, traced: Any, options: QueueOptions = ROOMY) -> AsyncIterator[InferenceQueue]:
    queue = InferenceQueue(model, traced.trace, options)
    async with asyncio.timeout(30):
        serving = asyncio.create_task(queue.serve())
        yield queue
        assert not serving.done(), "the queue must outlive whatever was put into it"
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


async def _complete(queue: InferenceQueue, text: str) -> Completion:
    return await queue.complete(text, [{"role": "user", "content": text}], SAMPLING, {"prompt": "p1"})


def test_jobs_run_one_at_a_time_in_the_order_of_their_arrival(model: Any, traced: Any) -> None:
    texts = [f"job {number}" for number in range(20)]

    async def play() -> list[str]:
        async with _serving(model, traced) as queue:
            completions = await asyncio.gather(*(_complete(queue, text) for text in texts))
        return [completion.text for completion in completions]

    assert asyncio.run(play()) == [text.upper() for text in texts]
    assert model.seen == texts
    assert model.most_at_once == 1
    assert [event["job"] for event in traced.read("enqueue")] == texts
    work = [(event["event"], event["job"]) for event in traced.read("start", "end")]
    assert work == [(event, text) for text in texts for event in ("start", "end")]


def test_the_event_loop_stays_free_while_the_model_works(model: Any, traced: Any) -> None:
    model.held.clear()

    async def play() -> Completion:
        async with _serving(model, traced) as queue:
            job = asyncio.create_task(_complete(queue, "slow"))
            while not model.seen:
                await asyncio.sleep(0)
            assert not job.done()
            model.held.set()
            return await job

    assert asyncio.run(play()).text == "SLOW"


@pytest.mark.parametrize("given_up", ["first", "second"])
def test_a_caller_that_gives_up_takes_no_job_back(model: Any, traced: Any, given_up: str) -> None:
    """Neither the job that the model is at nor one that waits: its node was asked, and does it."""
    model.held.clear()

    async def play() -> Completion:
        async with _serving(model, traced) as queue:
            jobs = {text: asyncio.create_task(_complete(queue, text)) for text in ("first", "second")}
            while not model.seen:
                await asyncio.sleep(0)
            jobs[given_up].cancel()
            with pytest.raises(asyncio.CancelledError):
                await jobs[given_up]
            model.held.set()
            return await _complete(queue, "third")

    assert asyncio.run(play()).text == "THIRD"
    assert model.seen == ["first", "second", "third"]
    assert [event["job"] for event in traced.read("end")] == ["first", "second", "third"]


@pytest.mark.parametrize(
    "error",
    [
        ContextOverflowError("the chat has 600 tokens"),
        RuntimeError("llama_decode returned 1"),
        ValueError("Conversation roles must alternate"),  # from a model's own chat template
        MemoryError("no more"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_reaches_its_caller_and_stops_no_other_job(model: Any, traced: Any, error: Exception) -> None:
    model.errors["bad"] = error

    async def play() -> list[Completion | BaseException]:
        async with _serving(model, traced) as queue:
            jobs = (_complete(queue, text) for text in ("one", "bad", "two"))
            return await asyncio.gather(*jobs, return_exceptions=True)

    one, bad, two = asyncio.run(play())
    assert isinstance(one, Completion)
    assert isinstance(two, Completion)
    assert isinstance(bad, JobError)
    assert str(bad) == str(error)
    assert [(event["job"], event["reason"]) for event in traced.read("job_failed")] == [("bad", str(error))]
    assert [event["job"] for event in traced.read("end")] == ["one", "two"]


def test_an_error_that_nobody_waits_for_any_more_is_not_logged(
    model: Any, traced: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model.errors["bad"] = RuntimeError("broken")
    model.held.clear()

    async def play() -> None:
        async with _serving(model, traced) as queue:
            job = asyncio.create_task(_complete(queue, "bad"))
            while not model.seen:
                await asyncio.sleep(0)
            job.cancel()
            model.held.set()
            await _complete(queue, "next")

    asyncio.run(play())
    assert caplog.records == []


def test_a_job_is_traced_from_enqueue_to_end_with_its_origin(model: Any, traced: Any) -> None:
    async def play() -> None:
        async with _serving(model, traced) as queue:
            await _complete(queue, "hello")

    asyncio.run(play())
    events = traced.read()
    assert [event["event"] for event in events] == ["enqueue", "start", "first_token", "end"]
    assert [event["t"] for event in events] == sorted(event["t"] for event in events)
    assert events[0]["prompt"] == "p1"
    assert (events[-1]["prompt_tokens"], events[-1]["tokens"], events[-1]["text"]) == (5, 2, "HELLO")


def _fill(queue: InferenceQueue, *texts: str) -> list["asyncio.Task[Completion]"]:
    return [asyncio.create_task(_complete(queue, text)) for text in texts]


async def _until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("overflow", "refused", "done"),
    [("reject", "late", ["at work", "one", "two"]), ("drop-oldest", "one", ["at work", "two", "late"])],
)
def test_a_full_queue_refuses_the_new_job_or_drops_the_oldest_that_waits(
    model: Any, traced: Any, overflow: str, refused: str, done: list[str]
) -> None:
    model.held.clear()
    options = QueueOptions.model_validate({"limit": 3, "overflow": overflow})

    async def play() -> dict[str, Completion | BaseException]:
        async with _serving(model, traced, options) as queue:
            jobs = _fill(queue, "at work")
            await _until(lambda: model.seen)
            jobs += _fill(queue, "one", "two", "late")
            await _until(lambda: any(job.done() for job in jobs))
            model.held.set()
            outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        return dict(zip(("at work", "one", "two", "late"), outcomes, strict=True))

    outcomes = asyncio.run(play())
    assert isinstance(outcomes.pop(refused), OverloadedError)
    assert all(isinstance(outcome, Completion) for outcome in outcomes.values())
    assert model.seen == done
    events = {"reject": "rejected", "drop-oldest": "dropped"}
    assert [(event["event"], event["job"]) for event in traced.read(*events.values())] == [(events[overflow], refused)]
    enqueued = {event["job"] for event in traced.read("enqueue")}
    assert enqueued == {*done, *([refused] if overflow == "drop-oldest" else [])}


@pytest.mark.parametrize("overflow", ["reject", "drop-oldest"])
def test_the_job_at_work_is_never_dropped(model: Any, traced: Any, overflow: str) -> None:
    model.held.clear()
    options = QueueOptions.model_validate({"limit": 1, "overflow": overflow})

    async def play() -> Completion:
        async with _serving(model, traced, options) as queue:
            (first,) = _fill(queue, "first")
            await _until(lambda: model.seen)
            with pytest.raises(OverloadedError, match="full"):
                await _complete(queue, "second")
            model.held.set()
            return await first

    assert asyncio.run(play()).text == "FIRST"


def test_a_queue_that_was_full_takes_jobs_again(model: Any, traced: Any) -> None:
    async def play() -> list[str]:
        async with _serving(model, traced, QueueOptions(limit=1)) as queue:
            return [(await _complete(queue, text)).text for text in ("one", "two", "three")]

    assert asyncio.run(play()) == ["ONE", "TWO", "THREE"]
