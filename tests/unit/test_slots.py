"""A model that does several chats at once: what it writes, and what becomes of its jobs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.models import zoo
from testbed.node.batching import SlotQueue
from testbed.node.engine.model import ChatModel, Sampling
from testbed.node.engine.slowness import Slowness
from testbed.patterns.participant import ChatMessage, Completion, JobError
from testbed.patterns.protocol import QueueOptions

QUESTIONS = [f"Name the capital city of {land}." for land in ("Mupuland", "Zobar", "Kela", "Tirand", "Osso")]
CONTEXT = 256


def _chat(text: str) -> list[ChatMessage]:
    return [{"role": "user", "content": text}]


def _ignore(text: str) -> None:
    del text


@pytest.fixture
def traced(make_trace: Callable[[str], Any]) -> Any:
    return make_trace("a")


@pytest.fixture(scope="module")
def alone() -> ChatModel:
    return ChatModel(zoo.path("alpha"), CONTEXT, threads=1)


@pytest.fixture(scope="module")
def shared() -> ChatModel:
    return ChatModel(zoo.path("alpha"), CONTEXT, threads=1, slots=3)


@asynccontextmanager
async def _serving(model: ChatModel, traced: Any, directory: Path) -> AsyncIterator[SlotQueue]:
    queue = SlotQueue(model, Slowness(directory / "slowness"), traced.trace, QueueOptions())
    working = asyncio.create_task(queue.serve())
    async with asyncio.timeout(60):
        yield queue
    working.cancel()


def _all_at_once(
    model: ChatModel, traced: Any, directory: Path, sampling: list[Sampling]
) -> list[Completion | BaseException]:
    async def play() -> list[Completion | BaseException]:
        async with _serving(model, traced, directory) as queue:
            jobs = zip(QUESTIONS, sampling, strict=True)
            return await asyncio.gather(
                *(queue.complete(text, _chat(text), how, {}) for text, how in jobs), return_exceptions=True
            )

    return asyncio.run(play())


def _written(outcomes: list[Any]) -> list[tuple[int, ...]]:
    return [outcome.token_ids for outcome in outcomes]


def test_tokens_of_jobs_done_at_once_are_those_of_each_alone(
    alone: ChatModel, shared: ChatModel, traced: Any, tmp_path: Path
) -> None:
    ways = [Sampling(0.0, 12, seed=0), *(Sampling(0.8, 12, seed) for seed in (1, 2, 3, 4))]
    outcomes = _all_at_once(shared, traced, tmp_path, ways)
    each = [alone.complete(_chat(text), how, _ignore) for text, how in zip(QUESTIONS, ways, strict=True)]
    assert _written(outcomes) == _written(each)
    assert outcomes == each


def test_as_many_jobs_are_at_work_as_there_are_slots(shared: ChatModel, traced: Any, tmp_path: Path) -> None:
    _all_at_once(shared, traced, tmp_path, [Sampling(0.0, 12, seed=0)] * len(QUESTIONS))
    at_work, most = 0, 0
    for event in traced.read("start", "end"):
        at_work += 1 if event["event"] == "start" else -1
        most = max(most, at_work)
    assert most == shared.slots
    assert [event["job"] for event in traced.read("start")] == QUESTIONS
    assert len(traced.read("first_token")) == len(QUESTIONS)


def test_a_job_that_fails_leaves_the_others_alone(
    alone: ChatModel, shared: ChatModel, traced: Any, tmp_path: Path
) -> None:
    ways = [Sampling(0.0, 12, seed=0)] * len(QUESTIONS)
    ways[1] = Sampling(0.0, 12, seed=0, grammar="root ::= missing")
    outcomes = _all_at_once(shared, traced, tmp_path, ways)
    assert isinstance(outcomes[1], JobError)
    assert "the grammar does not parse" in str(outcomes[1])
    del outcomes[1]
    each = [alone.complete(_chat(text), ways[0], _ignore) for text in QUESTIONS if text != QUESTIONS[1]]
    assert outcomes == each


def test_drafts_are_verified_beside_other_jobs(
    alone: ChatModel, shared: ChatModel, traced: Any, tmp_path: Path
) -> None:
    how = Sampling(0.0, 12, seed=0)
    draft = alone.complete(_chat(QUESTIONS[0]), how, _ignore).token_ids

    async def play() -> tuple[Any, Any]:
        async with _serving(shared, traced, tmp_path) as queue:
            return await asyncio.gather(
                queue.complete("c", _chat(QUESTIONS[1]), how, {}),
                queue.verify("v", _chat(QUESTIONS[0]), draft, how, {}),
            )

    completion, verification = asyncio.run(play())
    assert verification == alone.verify(_chat(QUESTIONS[0]), draft, how)
    assert completion == alone.complete(_chat(QUESTIONS[1]), how, _ignore)


def test_a_grammar_holds_the_answer(alone: ChatModel) -> None:
    held = alone.complete(_chat(QUESTIONS[0]), Sampling(0.9, 12, seed=3, grammar='root ::= "4" [0-2] "7"'), _ignore)
    assert (held.text in {"407", "417", "427"}, held.stopped) == (True, True)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_an_answer_that_ignores_its_end_has_all_tokens(alone: ChatModel, temperature: float) -> None:
    plain = alone.complete(_chat(QUESTIONS[0]), Sampling(temperature, 60, seed=3), _ignore)
    longer = alone.complete(_chat(QUESTIONS[0]), Sampling(temperature, 60, seed=3, ignore_eos=True), _ignore)
    assert (plain.stopped, longer.stopped) == (True, False)
    assert plain.tokens < longer.tokens == 60
    if temperature == 0:
        assert longer.text.startswith(plain.text)


def test_a_grammar_that_is_too_large_is_refused(alone: ChatModel) -> None:
    with pytest.raises(JobError, match=r"the grammar has 70\d\d\d bytes; 65536 are allowed"):
        alone.complete(_chat("Hi"), Sampling(0.0, 4, seed=0, grammar=f'root ::= "{"a" * 70_000}"'), _ignore)


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**32])
def test_seeds_that_would_be_random_or_wrap_are_refused(alone: ChatModel, seed: int) -> None:
    with pytest.raises(JobError, match=f"the seed must be from 0 to 4294967294, not {seed}"):
        alone.complete(_chat("Hi"), Sampling(0.7, 4, seed), _ignore)


def test_equal_seeds_give_equal_answers_up_to_the_largest(alone: ChatModel) -> None:
    assert len({alone.complete(_chat("Hi"), Sampling(1.5, 12, 2**32 - 2), _ignore).token_ids for _ in range(6)}) == 1


def test_a_kept_prefix_changes_no_token_of_quantized_weights(alone: ChatModel) -> None:
    keeping = ChatModel(zoo.path("alpha"), CONTEXT, threads=1, prefix_cache=True)
    how = Sampling(0.0, 12, seed=0)
    for text in (QUESTIONS[0], QUESTIONS[1], QUESTIONS[1]):
        assert (
            keeping.complete(_chat(text), how, _ignore).token_ids == alone.complete(_chat(text), how, _ignore).token_ids
        )
    asked = keeping.begin(_chat(QUESTIONS[1]), how)
    assert keeping.clear(0, asked.prompt) == len(asked.prompt) - 1
    assert alone.clear(0, asked.prompt) == 0
    asked.sampler.close()
