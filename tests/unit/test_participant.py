"""What a pattern can ask of its node and of its peers, between whole nodes over real HTTP; only the models are fake."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from loopback import free_port
from nodes import ADDRESSES, configured, node

from testbed.core import seeds
from testbed.node.agent import Agent
from testbed.node.calls import asking
from testbed.node.config import NodeConfig, PeerFacts
from testbed.node.engine.model import Sampling
from testbed.node.journal import recall
from testbed.node.participant import NodeParticipant
from testbed.patterns.gossip_moa import GossipMoa
from testbed.patterns.participant import (
    Budget,
    Call,
    ChatMessage,
    Completion,
    JobError,
    LogProbabilities,
    Participant,
    Peer,
    Price,
    Prompt,
    SamplingOverrides,
    Verification,
)

MakeTrace = Callable[[str], Any]
Scene = Callable[[NodeParticipant], Awaitable[Any]]
B = Peer("b", "zoo/b")
BRIEF: tuple[ChatMessage, ...] = ({"role": "system", "content": "Be brief."},)


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    free = free_port()
    monkeypatch.setattr(asking, "PORT", free)
    return free


@pytest.fixture
def models(model: Any) -> dict[str, Any]:
    return {"a": model, "b": type(model)()}


class Pair:
    """Nodes a and b, each the other's neighbour; a scene plays on a, with a prompt of its own."""

    def __init__(self, models: dict[str, Any], make_trace: MakeTrace, directory: Path) -> None:
        self.models = models
        self.make_trace = make_trace
        self.directory = directory
        self.agents: dict[str, Agent] = {}

    def events(self, name: str, *kinds: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.make_trace(name).read(*kinds)
        return events

    async def until(self, name: str, kind: str, number: int = 1) -> None:
        while len(self.events(name, kind)) < number:
            await asyncio.sleep(0.001)

    def participant(self, prompt: str = "p1", **more: Any) -> NodeParticipant:
        return self.agents["a"]._participant(Prompt(prompt, "why?", **more))

    @asynccontextmanager
    async def set_up(self) -> AsyncIterator["Pair"]:
        async with AsyncExitStack() as stack:
            for name in ADDRESSES:
                config = self._config(name)
                trace = self.make_trace(name)
                running = node(config, self.models[name], trace.trace, self.directory, ADDRESSES[name])
                _, self.agents[name] = await stack.enter_async_context(running)
            yield self

    def play(self, scene: Callable[["Pair"], Awaitable[Any]]) -> Any:
        async def play() -> Any:
            async with self.set_up():
                return await scene(self)

        return asyncio.run(play())

    def _config(self, name: str) -> NodeConfig:
        others = {other: address for other, address in ADDRESSES.items() if other != name}
        config = configured(name, others)
        facts = {other: PeerFacts(model=f"zoo/{other}") for other in others}
        own = PeerFacts(model=f"zoo/{name}", tier="device", price=Price(input=1, output=3))
        return config.model_copy(update={"peers": facts | {name: own}})


@pytest.fixture
def pair(models: dict[str, Any], make_trace: MakeTrace, tmp_path: Path) -> Pair:
    return Pair(models, make_trace, tmp_path)


def test_a_completion_says_all_that_is_known_of_it(pair: Pair) -> None:
    pair.models["b"].logprobs = LogProbabilities.of([-0.5, -1.5])

    async def scene(pair: Pair) -> Completion:
        return await pair.participant().complete(Call.of("why?"), B, 10)

    completion = pair.play(scene)
    assert completion == Completion("WHY?", 4, 2, True, LogProbabilities(-2.0, -1.0, -1.5, -1.5, -0.5))
    assert completion.seconds > 0
    (end,) = pair.events("b", "end")
    assert end["logprobs"] == {"sum": -2.0, "mean": -1.0, "least": -1.5, "tenth_percentile": -1.5, "first": -0.5}


def test_peers_are_more_than_names(pair: Pair) -> None:
    async def scene(pair: Pair) -> Any:
        return pair.participant().peers

    assert pair.play(scene) == [Peer("b", "zoo/b", tier=None, price=None, linked=True, present=True)]


def test_a_node_sees_what_the_topology_says_of_itself(pair: Pair) -> None:
    async def scene(pair: Pair) -> Any:
        return pair.participant("p1").itself

    itself = pair.play(scene)
    assert itself == Peer("a", "zoo/a", tier="device", price=Price(input=1, output=3))
    assert itself.price.of(1_000_000, 500_000) == 2.5


@pytest.mark.parametrize("at", [None, B])
def test_one_node_that_is_asked_twice_in_a_step_infers_twice(pair: Pair, at: Peer | None) -> None:
    async def scene(pair: Pair) -> list[str]:
        participant = pair.participant()
        calls = [Call.of("first"), Call.of("second"), Call.of("third", id="draft")]
        return [(await participant.complete(call, at, 10)).text for call in calls]

    assert pair.play(scene) == ["FIRST", "SECOND", "THIRD"]
    name = at.name if at else "a"
    jobs = [event["job"] for event in pair.events(name, "enqueue")]
    assert jobs == [f"p1.1@{name}", f"p1.1.2@{name}", f"p1.draft@{name}"]
    seeds = {sampling.seed for sampling in pair.models[name].samplings}
    assert len(seeds) == 3


def test_the_sampling_seed_of_a_call_follows_from_its_name(pair: Pair) -> None:
    """Runs of earlier versions are repeated with their answers: the names and what is derived from them stay."""

    async def scene(pair: Pair) -> None:
        participant = pair.participant()
        await participant.complete(Call.of("why?", layer=2, role="aggregation"), B, 10)
        await participant.complete(Call.of("why?", layer=2, role="aggregation"))

    pair.play(scene)
    for name in ADDRESSES:
        (sampling,) = pair.models[name].samplings
        assert sampling.seed == seeds.stream(7, "sampling", f"p1.2@{name}").getrandbits(31)
        assert (sampling.temperature, sampling.max_tokens) == (0.25, 24)


@pytest.mark.parametrize("at", [None, B])
def test_a_call_says_how_its_tokens_are_drawn(pair: Pair, at: Peer | None) -> None:
    async def scene(pair: Pair) -> None:
        sampling = SamplingOverrides(temperature=0.0, top_p=0.5, max_tokens=7, seed=99)
        await pair.participant().complete(Call([{"role": "user", "content": "why?"}], sampling=sampling), at, 10)

    pair.play(scene)
    (sampling,) = pair.models[at.name if at else "a"].samplings
    assert sampling == Sampling(temperature=0.0, top_p=0.5, max_tokens=7, seed=99)


def test_a_node_that_stops_cancels_nothing(pair: Pair) -> None:
    """Its prompts are taken up again after the restart, and its calls go on at the others."""
    pair.models["b"].held.clear()

    async def scene(pair: Pair) -> None:
        running = asyncio.create_task(pair.participant().complete(Call.of("first"), B, 20))
        await pair.until("b", "start")
        pair.agents["a"].stop()
        running.cancel()
        await asyncio.wait({running})
        pair.models["b"].held.set()
        await pair.until("b", "end")

    pair.play(scene)
    assert pair.events("a", "cancel") == []
    assert pair.events("b", "cancelled") == []


def test_a_name_with_another_content_is_refused(pair: Pair) -> None:
    async def scene(pair: Pair) -> None:
        first, again = pair.participant(), pair.participant()
        assert (await first.complete(Call.of("one"), B, 10)).text == "ONE"
        assert (await again.complete(Call.of("one"), B, 10)).text == "ONE"
        with pytest.raises(JobError, match=r"p1\.1@b is the name of another request"):
            await pair.participant().complete(Call.of("two"), B, 10)

    pair.play(scene)
    assert pair.models["b"].seen == ["one"]


def test_after_a_restart_a_name_with_another_content_is_refused(pair: Pair) -> None:
    async def scene(pair: Pair) -> None:
        await pair.participant().complete(Call.of("one"), B, 10)

    pair.play(scene)
    past = recall(pair.make_trace("b").path)
    assert past.jobs["p1.1@b"] == Completion("ONE", 3, 2, True)
    assert past.contents["p1.1@b"] == pair.events("b", "enqueue")[0]["content"]


def test_a_cancelled_call_leaves_the_queue_of_the_other_side(pair: Pair) -> None:
    pair.models["b"].held.clear()

    async def scene(pair: Pair) -> None:
        participant = pair.participant()
        running = asyncio.create_task(participant.complete(Call.of("first"), B, 20))
        await pair.until("b", "start")
        waiting = asyncio.create_task(participant.complete(Call.of("second"), B, 20))
        await pair.until("b", "enqueue", 2)
        waiting.cancel()
        await pair.until("b", "cancelled")
        pair.models["b"].held.set()
        assert (await running).text == "FIRST"

    pair.play(scene)
    assert pair.models["b"].seen == ["first"]
    assert [(event["message"], event["peer"]) for event in pair.events("a", "cancel")] == [("p1.1.2@b/request", "b")]
    (event,) = pair.events("b", "cancelled")
    assert (event["job"], event["reason"]) == ("p1.1.2@b", "cancelled")


def test_a_call_that_has_begun_runs_to_its_end_and_is_kept(pair: Pair) -> None:
    pair.models["b"].held.clear()

    async def scene(pair: Pair) -> str:
        running = asyncio.create_task(pair.participant().complete(Call.of("first"), B, 20))
        await pair.until("b", "start")
        running.cancel()
        await asyncio.wait({running})
        pair.models["b"].held.set()
        await pair.until("b", "end")
        return (await pair.participant().complete(Call.of("first"), B, 20)).text

    assert pair.play(scene) == "FIRST"
    assert pair.models["b"].seen == ["first"]
    assert pair.events("b", "cancelled") == []


@pytest.mark.parametrize("at", [None, B])
def test_a_call_whose_deadline_passes_leaves_the_queue(pair: Pair, at: Peer | None) -> None:
    name = at.name if at else "a"
    pair.models[name].held.clear()

    async def scene(pair: Pair) -> None:
        participant = pair.participant()
        running = asyncio.create_task(participant.complete(Call.of("first"), at, 20))
        await pair.until(name, "start")
        with pytest.raises(JobError, match=r"no answer within 1s"):
            await participant.complete(Call.of("second"), at, 1.0)
        await pair.until(name, "cancelled")
        pair.models[name].held.set()
        await running

    pair.play(scene)
    assert pair.models[name].seen == ["first"]
    (event,) = pair.events(name, "cancelled")
    assert (event["job"], event["reason"]) == (f"p1.1.2@{name}", "its deadline has passed")


def test_a_named_request_outlives_its_connection_and_an_unnamed_one_does_not(pair: Pair, port: int) -> None:
    pair.models["b"].held.clear()

    async def scene(pair: Pair) -> None:
        url = f"http://{ADDRESSES['b']}:{port}/v1/chat/completions"

        async def post(text: str, **headers: str) -> None:
            chat = {"messages": [{"role": "user", "content": text}]}
            async with ClientSession() as session, session.post(url, json=chat, headers=headers) as response:
                await response.read()

        first = asyncio.create_task(post("first"))
        await pair.until("b", "start")
        clients = [asyncio.create_task(post("named", **{"X-Request-Id": "mine"})), asyncio.create_task(post("unnamed"))]
        await pair.until("b", "enqueue", 3)
        for client in clients:
            client.cancel()
        await pair.until("b", "cancelled")
        pair.models["b"].held.set()
        await first
        await pair.until("b", "end", 2)

    pair.play(scene)
    assert pair.models["b"].seen == ["first", "named"]
    (event,) = pair.events("b", "cancelled")
    assert (event["job"][:8], event["reason"]) == ("request-", "its connection has ended")
    assert [event["message"] for event in pair.events("b", "late")] == ["mine/response"]


@pytest.mark.parametrize("written", ["soon", "-1", "nan", "inf", ""])
def test_a_deadline_that_is_no_time_is_refused(pair: Pair, port: int, written: str) -> None:
    async def scene(_: Pair) -> Any:
        url = f"http://{ADDRESSES['b']}:{port}/v1/chat/completions"
        chat, deadline = {"messages": [{"role": "user", "content": "hi"}]}, {"X-Deadline": written}
        async with ClientSession() as session, session.post(url, json=chat, headers=deadline) as response:
            return response.status, (await response.json())["error"]["message"]

    assert pair.play(scene) == (400, f"X-Deadline: {written!r} is no number of seconds")


@pytest.mark.parametrize(
    ("tokens", "accepted", "following"), [([1, 2, 9, 4], 2, 3), ([1, 2, 3, 4], 4, None), ([7], 0, 1)]
)
def test_a_peer_verifies_a_draft(pair: Pair, tokens: list[int], accepted: int, following: int | None) -> None:
    async def scene(pair: Pair) -> Verification:
        return await pair.participant().verify(Call.of("four"), tokens, B, 10)

    assert pair.play(scene) == Verification(accepted, following, 4)
    (end,) = pair.events("b", "end")
    assert (end["job"], end["accepted"], end["next"]) == ("p1.1@b", accepted, following)
    assert recall(pair.make_trace("b").path).jobs["p1.1@b"] == Verification(accepted, following, 4)


def test_a_draft_in_another_vocabulary_is_refused_by_name(pair: Pair) -> None:
    pair.models["b"].vocabulary = "small letters"

    async def scene(pair: Pair) -> None:
        await pair.participant().verify(Call.of("four"), [1], B, 10)

    with pytest.raises(JobError, match="zoo/b of b and zoo/a have different vocabularies"):
        pair.play(scene)
    assert pair.models["b"].seen == []


def test_a_peer_answers_a_delegated_prompt_with_its_own_pattern(pair: Pair) -> None:
    """b's pattern asks its own model and a, and aggregates."""

    async def scene(pair: Pair) -> list[str]:
        participant = pair.participant()
        prompt = Prompt("p1", "why?")
        return [await participant.delegate(prompt, B, 20) for _ in range(2)]

    first, second = pair.play(scene)
    assert first == second
    assert first.startswith("WHY?\nRESPONSE-1: WHY?\nRESPONSE-2: WHY?")
    assert [event["name"] for event in pair.events("b", "delegation", "delegation_answer")] == [
        "p1>b",
        "p1>b",
        "p1>b.2",
        "p1>b.2",
    ]
    assert {event["job"] for event in pair.events("a", "enqueue")} == {"p1>b.1@a", "p1>b.2.1@a"}
    jobs = pair.events("b", "enqueue")
    assert {(event["prompt"], event["owner"]) for event in jobs} == {("p1", "b")}
    assert pair.events("b", "arrival", "answer") == []
    assert recall(pair.make_trace("b").path).delegations["p1>b"] == first


def test_every_call_begins_with_the_chat_that_leads_to_the_question() -> None:
    system, question = Call([{"role": "system", "content": "Vote."}, *Call.of("why?").messages]), Call.of("why?")
    prompt = Prompt("p1", "why?", before=(*BRIEF, {"role": "user", "content": "how?"}))
    assert [message["content"] for message in prompt.chat(question.messages)] == ["Be brief.", "how?", "why?"]
    assert [message["content"] for message in prompt.chat(system.messages)] == ["Be brief.\n\nVote.", "how?", "why?"]


def test_budget_privacy_chat_and_nodes_visited_travel_along(pair: Pair) -> None:
    received: list[Prompt] = []

    class Noting(GossipMoa):
        async def answer(self, prompt: Prompt, owner: Participant) -> str:
            del owner
            received.append(prompt)
            return "noted"

    async def scene(pair: Pair) -> str:
        noting = Noting.model_validate({"kind": "gossip-moa", "layers": 0, "proposers": 0})
        pair.agents["b"].config = pair.agents["b"].config.model_copy(update={"pattern": noting})
        participant = pair.participant("p1>a", budget=Budget(seconds=9, price=2), privacy="edge", visited=("c",))
        return await participant.delegate(
            Prompt(
                "any", "why?", Budget(tokens=5, price=1), privacy="cloud", before=BRIEF, allowed=("A", "B"), tokens=9
            ),
            B,
        )

    assert pair.play(scene) == "noted"
    assert received == [
        Prompt("p1>a>b", "why?", Budget(9, 5, 1), "edge", ("c", "a"), before=BRIEF, allowed=("A", "B"), tokens=9)
    ]
    (event,) = pair.events("b", "delegation")
    assert (event["prompt"], event["visited"]) == ("p1", ["c", "a"])


@pytest.mark.parametrize("at", [None, B])
def test_calls_for_an_answer_are_held_to_what_the_prompt_allows(pair: Pair, at: Peer | None) -> None:
    async def scene(pair: Pair) -> None:
        participant = pair.participant(allowed=("A", 'say "B"'))
        for role in ("answer", "aggregation", "comparison"):
            await participant.complete(Call.of("why?", role=role, id=role), at)

    pair.play(scene)
    held = r"""root ::= " "? ("A" | "say \"B\"")"""
    samplings = pair.models["a" if at is None else "b"].samplings
    assert [sampling.grammar for sampling in samplings] == [held, held, None]


@pytest.mark.parametrize("at", [None, B])
def test_answers_are_as_long_as_the_prompt_says(pair: Pair, at: Peer | None) -> None:
    async def scene(pair: Pair) -> int:
        participant = pair.participant(tokens=90)
        for role in ("answer", "aggregation", "comparison"):
            await participant.complete(Call.of("why?", role=role, id=role), at)
        return participant.most_tokens

    assert pair.play(scene) == 90
    samplings = pair.models["a" if at is None else "b"].samplings
    default = samplings[-1].max_tokens
    assert default != 90
    lengths = [(sampling.max_tokens, sampling.ignore_eos) for sampling in samplings]
    assert lengths == [(90, True), (90, True), (default, False)]


def test_a_prompt_is_not_delegated_in_a_circle(pair: Pair, port: int) -> None:
    async def scene(pair: Pair) -> Any:
        with pytest.raises(JobError, match="b delegated this prompt itself"):
            await pair.participant("p1>a", visited=("b",)).delegate(Prompt("p1>a", "why?"), B, 10)
        url = f"http://{ADDRESSES['b']}:{port}/v1/delegations"
        async with ClientSession() as session:
            request = {"text": "why?", "visited": ["b", "a"]}
            async with session.post(url, json=request, headers={"X-Request-Id": "p1>b"}) as response:
                return response.status, (await response.json())["error"]["message"]

    status, message = pair.play(scene)
    assert (status, "b delegated this prompt itself" in message) == (400, True)
    assert pair.events("b", "delegation") == []


def test_a_delegation_that_is_cancelled_ends_with_its_calls(pair: Pair) -> None:
    pair.models["b"].held.clear()

    async def scene(pair: Pair) -> None:
        busy = asyncio.create_task(pair.participant("p0").complete(Call.of("first"), B, 20))
        await pair.until("b", "start")
        delegating = asyncio.create_task(pair.participant().delegate(Prompt("p1", "why?"), B, 20))
        await pair.until("b", "enqueue", 2)
        delegating.cancel()
        await pair.until("b", "delegation_failed")
        await pair.until("b", "cancelled")
        pair.models["b"].held.set()
        await busy

    pair.play(scene)
    assert pair.models["b"].seen == ["first"]
    (event,) = pair.events("b", "delegation_failed")
    assert (event["name"], event["prompt"], event["reason"]) == ("p1>b", "p1", "cancelled")


def test_a_decision_is_an_event(pair: Pair) -> None:
    async def scene(pair: Pair) -> None:
        pair.participant().decide(B, score=0.25, threshold=0.5, propensity=0.9, reason="unsure")
        pair.participant().decide(None, source=B)

    pair.play(scene)
    decisions = [
        {key: value for key, value in event.items() if key not in ("t", "node", "event")}
        for event in pair.events("a", "decision")
    ]
    assert decisions == [
        {
            "prompt": "p1",
            "from": "a",
            "to": "b",
            "score": 0.25,
            "threshold": 0.5,
            "propensity": 0.9,
            "reason": "unsure",
        },
        {"prompt": "p1", "from": "b", "to": "a", "score": None, "threshold": None, "propensity": None, "reason": ""},
    ]


def test_a_score_that_is_no_number_is_null(pair: Pair) -> None:
    """JSON has no infinity, and readers of events.jsonl stop at one."""

    async def scene(pair: Pair) -> None:
        pair.participant().decide(B, score=float("-inf"), propensity=float("nan"))

    pair.play(scene)
    (event,) = pair.events("a", "decision")
    assert (event["score"], event["propensity"]) == (None, None)


def test_log_probabilities_are_summed_up() -> None:
    values = [-0.1 * number for number in range(1, 21)]
    assert LogProbabilities.of(values) == LogProbabilities(
        pytest.approx(-21.0), pytest.approx(-1.05), pytest.approx(-2.0), pytest.approx(-1.9), -0.1
    )
    assert LogProbabilities.of([]) is None


@pytest.mark.parametrize("id", ["a.b", "a@b", "a/b", "a>b", "ä"])
def test_the_id_of_a_call_is_part_of_a_name(id: str) -> None:
    with pytest.raises(ValueError, match="the id of a call"):
        Call.of("why?", id=id)


def test_a_call_has_a_message() -> None:
    with pytest.raises(ValueError, match="at least one message"):
        Call([])


def test_a_pattern_may_ask_beforehand_what_fits(pair: Pair) -> None:
    """The context holds 512 tokens, and the fake counts letters."""

    async def scene(pair: Pair) -> list[int]:
        owner = pair.participant()
        calls = [Call.of("x" * length) for length in (100, 600)]
        return [await owner.room(call, at, 10) for call in calls for at in (None, B)]

    assert pair.play(scene) == [412, 412, 0, 0]
    assert pair.models["a"].seen == pair.models["b"].seen == []
