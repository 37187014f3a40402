"""A ring of nodes: whatever the schedule, whatever comes in and whoever is lost, samples get one model's tokens."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from ringed import CONTEXT, END, FakeRing, failing_once, running, unsplit

from testbed.node.config import RING_PORT
from testbed.node.engine.model import Sampling
from testbed.node.engine.stage import StageError
from testbed.node.ring.wire.frames import Format, Frame
from testbed.node.ring.wire.messages import Alive, Drawing, Freeing, Opening, RingMessage, Row, Tokens
from testbed.patterns.participant import Completion, JobError
from testbed.patterns.pipeline import Pipeline

MakeTrace = Callable[[str], Any]
TEXTS = ["alpha", "be", "gamma ray", "d", "epsilon and more of it", "zeta", "eta", "theta?"]


def _pattern(**options: Any) -> Pipeline:
    """A ring in which nobody counts as lost for being slow, on a host that has other things to do."""
    return Pipeline.model_validate({"kind": "pipeline", "ring": ["a", "b", "c"], "detect": "20s", "chunk": 4} | options)


async def _all(ring: FakeRing, limit: int = 8) -> list[Completion]:
    return await asyncio.gather(*(ring.complete(text, limit) for text in TEXTS))


def _expected(stages: int, limit: int = 8) -> list[Completion]:
    return [unsplit(text, stages, limit) for text in TEXTS]


@pytest.mark.parametrize("schedule", ["sequential", "recurrent", "microbatch", "auto"])
@pytest.mark.parametrize("nodes", ["a", "ab", "abc", "abcd"])
def test_a_ring_says_what_one_model_says(schedule: str, nodes: str, make_trace: MakeTrace) -> None:
    async def play() -> list[Completion]:
        async with running(_pattern(ring=list(nodes), schedule=schedule), make_trace) as ring:
            return await _all(ring)

    assert asyncio.run(play()) == _expected(len(nodes))


def test_a_sample_that_ends_is_freed_on_every_stage(make_trace: MakeTrace) -> None:
    async def play() -> list[int]:
        async with running(_pattern(samples=4), make_trace) as ring:
            await _all(ring)
            while any(layers.cache for layers in ring.layers.values()):  # the last ones' frames are on their way
                await asyncio.sleep(0)
            return [len(layers.cache) for layers in ring.layers.values()]

    assert asyncio.run(play()) == [0, 0, 0]


def test_jobs_are_traced_like_those_of_a_model(make_trace: MakeTrace) -> None:
    async def play() -> Any:
        async with running(_pattern(), make_trace) as ring:
            await ring.complete("alpha")
            return ring.traces

    traces = asyncio.run(play())
    kinds = ("enqueue", "start", "first_token", "end")
    assert [event["event"] for event in traces["a"].read(*kinds)] == list(kinds)
    assert traces["a"].read("end")[0]["prompt_tokens"] == 5
    for trace in traces.values():
        assert sum(event["rows"] for event in trace.read("computed")) == 5 + 7
        assert all(event["seconds"] >= 0 for event in trace.read("computed"))


def test_a_chat_that_is_too_long_fails_and_the_others_go_on(make_trace: MakeTrace) -> None:
    async def play() -> Any:
        async with running(_pattern(), make_trace) as ring:
            return await asyncio.gather(ring.complete("x" * CONTEXT), _all(ring), return_exceptions=True)

    too_long, others = asyncio.run(play())
    assert isinstance(too_long, JobError)
    assert "the context holds 64" in str(too_long)
    assert others == _expected(3)


def test_what_a_stage_cannot_compute_fails_with_its_reason_and_the_others_go_on(make_trace: MakeTrace) -> None:
    async def play() -> Any:
        async with running(_pattern(schedule="sequential"), make_trace) as ring:
            ring.layers["b"].fails = failing_once("llama_decode gave 1")
            return await asyncio.gather(ring.complete("first"), _all(ring), return_exceptions=True)

    failed, others = asyncio.run(play())
    assert isinstance(failed, JobError)
    assert str(failed) == "llama_decode gave 1"
    assert others == _expected(3)


def test_other_nodes_of_the_ring_complete_nothing(make_trace: MakeTrace) -> None:
    async def play() -> None:
        async with running(_pattern(), make_trace) as ring:
            with pytest.raises(JobError, match="ask a, the head"):
                await ring.nodes["b"].complete("job", [], Sampling(0.0, 1, seed=1), {})

    asyncio.run(play())


# --- frames that are none ---------------------------------------------------------------------------------------------

LAYOUT = Format(32, "f32")


def _frame(message: RingMessage, epoch: int = 1) -> bytes:
    return LAYOUT.write(Frame(epoch, message))


@pytest.mark.parametrize(
    ("target", "data", "reason"),
    [
        ("b", b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", "no frame begins here"),
        ("b", _frame(Alive(0))[:7], "too early"),
        ("b", b"RNG\x01" + _frame(Alive(0))[4:], "version 1"),
        ("b", b"RNG\x02\x01\x01\xff\xff" + bytes(12), "at most 512"),
        ("b", _frame(Freeing([1]))[:-1] + b"\x07", "checksum"),
        ("b", _frame(Freeing([99]), 2**32 - 1), "it is of epoch 4294967295"),
        ("b", None, "sample 99 is unknown"),
        ("c", None, "sample 99 is unknown"),
        ("a", None, "Freeing is nothing for a head"),
    ],
)
def test_what_is_no_frame_is_rejected_and_counted_and_samples_go_on(
    target: str, data: bytes | None, reason: str, make_trace: MakeTrace
) -> None:
    async def play() -> Any:
        async with running(_pattern(), make_trace) as ring:
            going = asyncio.create_task(_all(ring))
            _, writer = await asyncio.open_connection(ring.address(target), RING_PORT)
            writer.write(_frame(Freeing([99]), ring.head._epoch) if data is None else data)
            writer.write_eof()
            while not ring.traces[target].read("frame_rejected"):
                await asyncio.sleep(0.001)
            writer.close()
            return await going, ring.traces

    completions, traces = asyncio.run(play())
    assert completions == _expected(3)
    (event,) = traces[target].read("frame_rejected")
    assert reason in event["reason"]
    assert not traces["a"].read("ring_broken")


@pytest.mark.parametrize(
    "message",
    [
        Opening(0, 0, Drawing(1, 0.0, 1.0)),  # begun already
        Opening(77, 500, Drawing(1, 0.0, 1.0)),  # no such place
        Freeing([0, 99]),
    ],
)
def test_a_message_that_does_not_fit_changes_nothing(message: RingMessage, make_trace: MakeTrace) -> None:
    async def play() -> Any:
        async with running(_pattern(), make_trace) as ring:
            going = asyncio.create_task(_all(ring, limit=30))
            while not ring.traces["b"].read("computed"):
                await asyncio.sleep(0.001)
            _, writer = await asyncio.open_connection(ring.address("b"), RING_PORT)
            writer.write(_frame(message, ring.head._epoch))
            while not ring.traces["b"].read("frame_rejected"):
                await asyncio.sleep(0.001)
            writer.close()
            return await going

    assert asyncio.run(play()) == _expected(3, limit=30)


def test_a_token_that_nobody_waits_for_is_rejected(make_trace: MakeTrace) -> None:
    async def play() -> Any:
        async with running(_pattern(), make_trace) as ring:
            _, writer = await asyncio.open_connection(ring.address("a"), RING_PORT)
            writer.write(_frame(Tokens([Row(0, 3, True)], [5], [-1.0]), ring.head._epoch))
            while not ring.traces["a"].read("frame_rejected"):
                await asyncio.sleep(0.001)
            writer.close()
            return ring.traces["a"].read("frame_rejected")

    assert "sample 0 is unknown" in asyncio.run(play())[0]["reason"]


# --- nodes that are lost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["b", "c"])
@pytest.mark.parametrize("tokens", [0, 3, 11])
def test_a_lost_node_that_comes_back_costs_no_token(lost: str, tokens: int, make_trace: MakeTrace) -> None:
    async def play() -> Any:
        async with running(_pattern(), make_trace) as ring:
            going = asyncio.create_task(_all(ring, limit=20))
            while sum(event["rows"] for event in ring.traces[lost].read("computed")) < tokens:
                await asyncio.sleep(0.001)
            await ring.stop(lost)
            while not ring.traces["a"].read("ring_broken"):
                await asyncio.sleep(0.001)
            ring.start(lost)
            return await going, ring.traces

    completions, traces = asyncio.run(play())
    assert completions == _expected(3, limit=20)
    assert [event["peer"] for event in traces["a"].read("ring_broken")] == [lost]
    assert len(traces["a"].read("ring_closed")) == 2


def test_a_head_that_is_started_again_closes_the_ring_anew(make_trace: MakeTrace) -> None:
    """What the others have of samples that only the old head knew is forgotten."""

    async def play() -> list[Completion]:
        async with running(_pattern(), make_trace) as ring:
            going = asyncio.create_task(_all(ring, limit=20))
            while not ring.traces["c"].read("computed"):
                await asyncio.sleep(0.001)
            await ring.stop("a")
            going.cancel()
            ring.start("a")
            return await _all(ring)

    assert asyncio.run(play()) == _expected(3)


@pytest.mark.parametrize("seed", range(20))
def test_whichever_nodes_are_lost_whenever_no_token_is(seed: int, make_trace: MakeTrace) -> None:
    draw = random.Random(seed)

    async def play() -> list[Completion]:
        schedule = draw.choice(["sequential", "recurrent", "microbatch"])
        async with running(_pattern(ring=list("abcd"), schedule=schedule, detect="300ms"), make_trace) as ring:
            going = asyncio.create_task(_all(ring, limit=20))
            for _ in range(draw.randint(1, 3)):
                lost = draw.sample("bcd", draw.randint(1, 2))
                await asyncio.sleep(draw.uniform(0, 0.1))
                for name in lost:
                    await ring.stop(name)
                await asyncio.sleep(draw.uniform(0, 0.1))
                for name in lost:
                    ring.start(name)
            return await going

    assert asyncio.run(play()) == _expected(4, limit=20)


@pytest.mark.parametrize("steps", range(8))
def test_a_node_that_is_lost_while_it_starts_leaves_its_place_free(steps: int, make_trace: MakeTrace) -> None:
    async def play() -> Completion:
        async with running(_pattern(), make_trace) as ring:
            await ring.stop("b")
            ring.start("b")
            for _ in range(steps):
                await asyncio.sleep(0)
            await ring.stop("b")
            ring.start("b")
            return await ring.complete("alpha", 8)

    assert asyncio.run(play()) == unsplit("alpha", 3, 8)


@pytest.mark.parametrize("lost", ["b", "c"])
def test_the_others_take_over_the_layers_of_a_node_that_stays_away(lost: str, make_trace: MakeTrace) -> None:
    async def play() -> Any:
        async with running(_pattern(detect="2s", take_over="400ms"), make_trace) as ring:
            going = asyncio.create_task(_all(ring, limit=20))
            while not ring.traces[lost].read("computed"):
                await asyncio.sleep(0.001)
            await ring.stop(lost)
            completions = await going
            ring.start(lost)  # it is not needed any more, and must not disturb
            return completions, await _all(ring), ring.traces

    during, afterwards, traces = asyncio.run(play())
    assert during == _expected(3, limit=20)
    assert afterwards == _expected(3)
    assert [event["peer"] for event in traces["a"].read("taken_over")] == [lost]
    assert len(traces["a"].read("ring_broken")) == 1


def test_a_node_that_stays_away_ends_all_samples_with_their_reason(make_trace: MakeTrace) -> None:
    async def play() -> Any:
        async with running(_pattern(detect="300ms", patience="500ms"), make_trace) as ring:
            await ring.stop("c")
            outcomes = await asyncio.gather(*(ring.complete(text) for text in TEXTS), return_exceptions=True)
            ring.start("c")
            while len(ring.traces["a"].read("ring_closed")) < 2:
                await asyncio.sleep(0.001)
            return outcomes, await _all(ring)

    outcomes, afterwards = asyncio.run(play())
    assert {str(outcome) for outcome in outcomes} == {"the ring has been broken for more than 0.5s"}
    assert all(isinstance(outcome, JobError) for outcome in outcomes)
    assert afterwards == _expected(3)


def test_fake_samples_end_in_both_ways() -> None:
    """Else the tests above would hold of a ring that knows only one."""
    assert END == 0
    assert {completion.stopped for completion in _expected(3)} == {False, True}


def test_auto_makes_the_groups_that_it_measured_best(make_trace: MakeTrace) -> None:
    async def play() -> Any:
        async with running(_pattern(schedule="auto", samples=6), make_trace) as ring:
            return await _all(ring), ring.traces["a"].read("tuned")

    completions, (tuned,) = asyncio.run(play())
    assert completions == _expected(3)
    assert 1 <= tuned["groups"] * tuned["batch"] <= 6


@pytest.mark.parametrize(("most", "samples"), [(2, {1, 2, 3, 4, 6}), (0, {1})])
def test_a_stage_that_fails_during_rehearsal_ends_it_with_the_sizes_that_can_be_computed(
    most: int, samples: set[int], make_trace: MakeTrace
) -> None:
    def fail(rows: int) -> None:
        if rehearsing and rows > most:
            raise StageError("llama_decode gave 1")

    rehearsing = True

    async def play() -> Any:
        nonlocal rehearsing
        ring = FakeRing(_pattern(schedule="auto", samples=6), make_trace)
        async with asyncio.timeout(60):
            for name in ring.pattern.ring:
                ring.start(name)
            ring.layers["b"].fails = fail
            await ring.head.ready()
            rehearsing = False
            completions = await _all(ring)
            for name in ring.pattern.ring:
                await ring.stop(name)
        return completions, ring.traces["a"].read("tuned", "tuning_failed")

    completions, (event,) = asyncio.run(play())
    assert completions == _expected(3)
    if most:
        assert event["batch"] <= most
        assert event["groups"] * event["batch"] in samples
    else:
        assert (event["event"], event["reason"]) == ("tuning_failed", "llama_decode gave 1")
