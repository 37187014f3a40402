"""A foreign server as a node's model: an agent's queue, the companion on the host, and a played server behind it."""

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, UnixConnector
from endpoint_route import SAMPLING, Route, ended, route
from foreign_server import WORDS, ForeignServer, foreign_server

from testbed.core.clock import REAL_TIME, Clock
from testbed.core.errors import SpecError
from testbed.node.endpoint.server import EndpointError
from testbed.node.engine.model import Sampling
from testbed.patterns.participant import JobError, LogProbabilities, PlainText, Price
from testbed.schema.scenario import load_scenario
from testbed.world.nodes.endpoint.address import BaseUrl
from testbed.world.nodes.endpoint.budget import Account, BudgetSpentError

KEY = 'sk-test/0123"456789'
TEXT = "".join(WORDS)


@pytest.fixture
def path(tmp_path: Path) -> Any:
    """Makes the route to a played server."""

    @asynccontextmanager
    async def make(
        server: ForeignServer,
        url: str = "http://127.0.0.1:{port}/v1",
        tls: ssl.SSLContext | None = None,
        **options: Any,
    ) -> AsyncIterator[Route]:
        async with (
            asyncio.timeout(30),
            foreign_server(server, tls=tls) as port,
            route(url.format(port=port), tmp_path, **options) as way,
        ):
            yield way

    return make


def test_an_answer_comes_as_it_is_written(path: Any) -> None:
    server, told = ForeignServer(words=("\n The", " capital ", " is Paris. ", "\n")), list[str]()

    async def play() -> tuple[Any, list[dict[str, Any]]]:
        async with path(server) as way:
            return await way.ask(on_text=told.append), way.events()

    completion, events = asyncio.run(play())
    assert completion.text == "".join(told) == "The capital  is Paris."
    assert (completion.prompt_tokens, completion.tokens, completion.stopped) == (9, 4, True)
    assert [event["event"] for event in events] == ["enqueue", "start", "first_token", "end"]
    assert len(told) == 3
    (asked,) = server.seen
    assert asked == {
        "model": "theirs",
        "messages": [{"role": "user", "content": "Hello?"}],
        "max_tokens": 8,
        "temperature": 0.5,
        "top_p": 0.95,
        "seed": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("server", [ForeignServer(usage_in_streams=False), ForeignServer(rejects=("stream_options",))])
def test_a_server_without_usage_in_its_streams_is_asked_without_streams(path: Any, server: ForeignServer) -> None:
    async def play() -> tuple[Any, list[dict[str, Any]]]:
        async with path(server, rehearse=True) as way:
            return await way.ask(), way.events("first_token")

    completion, first_tokens = asyncio.run(play())
    assert first_tokens == [], "nobody knows when it was written"
    assert (completion.text, completion.prompt_tokens, completion.tokens) == (TEXT, 9, 4)
    assert [body.get("stream") for body in server.seen] == [True, False, False]


@pytest.mark.parametrize("header", ["0", "Thu, 01 Jan 1970 00:00:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(path: Any, status: int, header: str) -> None:
    server = ForeignServer(refusals=[(status, {"Retry-After": header}, "slow down")] * 2)

    async def play() -> tuple[Any, list[dict[str, Any]]]:
        async with path(server) as way:
            return await way.ask(), way.events("endpoint_waits", "end")

    completion, events = asyncio.run(play())
    assert completion.text == TEXT
    assert [(event["event"], event.get("seconds")) for event in events] == [
        ("endpoint_waits", 0),
        ("endpoint_waits", 0),
        ("end", None),
    ]
    assert "slow down" in events[0]["reason"]


FAILURES = {
    "busy for longer than anybody waits": (
        ForeignServer(refusals=[(429, {"Retry-After": "3600"}, "come tomorrow")]),
        "rate_limited",
        "come tomorrow",
    ),
    "refused": (ForeignServer(refusals=[(401, {}, "no such key")]), "refused", "401: no such key"),
    "broken": (ForeignServer(refusals=[(500, {}, "oops")]), "failed", "500: oops"),
    "redirected": (ForeignServer(location="http://127.0.0.1:1/v1/chat/completions"), "redirected", "307"),
    "cut off": (ForeignServer(breaks_after=2), "broken_off", "in the middle"),
    "ended without a reason": (ForeignServer(ends_after=2), "broken_off", "in the middle"),
    "an error in the stream": (ForeignServer(error_after="out of memory"), "failed", "out of memory"),
    "too much": (ForeignServer(words=("x" * 2**20,) * 17), "too_large", "16777216 bytes"),
    "no usage": (ForeignServer(usage_in_streams=False), "failed", "how many tokens"),
}


@pytest.mark.parametrize(("server", "kind", "said"), FAILURES.values(), ids=FAILURES)
def test_what_goes_wrong_is_named(path: Any, server: ForeignServer, kind: str, said: str) -> None:
    async def play() -> tuple[str, list[dict[str, Any]]]:
        async with path(server) as way:
            with pytest.raises(JobError) as failed:
                await way.ask()
            return str(failed.value), way.events("endpoint_failed", "job_failed")

    message, events = asyncio.run(play())
    assert said in message
    assert [(event["event"], event.get("kind")) for event in events] == [
        ("endpoint_failed", kind),
        ("job_failed", None),
    ]


def test_a_server_that_stalls_is_given_up(path: Any) -> None:
    server = ForeignServer(stuck=True)

    async def play() -> list[dict[str, Any]]:
        async with path(server, patience=0.2) as way:
            with pytest.raises(JobError, match=r"said nothing for 0\.2 s"):
                await way.ask()
            return way.events("first_token", "endpoint_failed")

    assert [event.get("kind") for event in asyncio.run(play())] == [None, "stalled"]


def test_a_server_that_is_not_there_is_named(path: Any) -> None:
    async def play() -> list[dict[str, Any]]:
        async with path(ForeignServer(), url="http://127.0.0.1:1/v1", requests=1) as way:
            for _ in range(2):  # nothing was sent, so nothing is spent
                with pytest.raises(JobError, match="no connection"):
                    await way.ask()
            return way.events("endpoint_failed")

    assert {event["kind"] for event in asyncio.run(play())} == {"unreachable"}


def test_a_spent_budget_ends_cleanly(path: Any) -> None:
    server = ForeignServer()

    async def play() -> list[dict[str, Any]]:
        async with path(server, requests=2) as way:
            for number in range(2):
                assert (await way.ask(job=f"p{number}.1@a")).text == TEXT
            with pytest.raises(JobError, match="the budget of 2 requests is spent"):
                await way.ask(job="p3.1@a")
            return way.events("endpoint_failed")

    assert [event["kind"] for event in asyncio.run(play())] == ["budget"]
    assert len(server.seen) == 2


def test_money_is_charged_by_what_the_server_counts(path: Any) -> None:
    """Each request costs 9 + 4 × 2 = 17 millionths; the next must fit with all its bytes and 8 tokens."""
    server, price = ForeignServer(), Price(input=1.0, output=2.0)

    async def play() -> int:
        async with path(server, money=400e-6, price=price) as way:
            for number in range(40):
                try:
                    await way.ask(job=f"p{number}.1@a")
                except JobError as error:
                    assert "of the budget of 0.0004" in str(error)
                    return number
        raise AssertionError("the budget has no end")

    asked = asyncio.run(play())
    size = len(json.dumps(server.seen[0], separators=(",", ":")))
    most = (size + 8 * 2) * 1e-6
    assert asked == len(server.seen) == int((400e-6 - most) / 17e-6) + 1


def test_the_key_reaches_the_server_and_nobody_else(path: Any, tmp_path: Path) -> None:
    refusal = (400, {"Retry-After": KEY}, f"what is {KEY}?")
    server = ForeignServer(words=("your key is ", KEY, ", isn't it"), refusals=[refusal])

    async def play() -> tuple[str, str]:
        async with path(server, key=KEY) as way:
            with pytest.raises(JobError) as failed:
                await way.ask()
            return str(failed.value), (await way.ask(job="p2.1@a")).text

    refused, answered = asyncio.run(play())
    assert server.keys == [f"Bearer {KEY}"] * 2
    assert refused.endswith("what is [key]?")
    assert answered == "your key is [key], isn't it"
    found = [file for file in tmp_path.rglob("*") if file.is_file() and b"0123" in file.read_bytes()]
    assert found == []


def test_the_companion_forwards_one_path_and_one_model(path: Any) -> None:
    server = ForeignServer()
    good = {"model": "theirs", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    good |= {"temperature": 0, "top_p": 1, "seed": 1}

    async def play() -> list[int]:
        async with path(server) as way, ClientSession("http://c", connector=UnixConnector(str(way.socket))) as session:
            asked = [
                session.get("/chat/completions"),
                session.post("/models", json=good),
                session.post("/v1/chat/completions", json=good),
                session.post("/chat/completions", json=good | {"model": "dearer"}),
                session.post("/chat/completions", json=good | {"n": 16}),
                session.post("/chat/completions", json=good | {"max_tokens": 0}),
                session.post("/chat/completions", data=b"x" * (4 * 2**20 + 1)),
                session.post("/chat/completions", json=good),
            ]
            return [(await request).status for request in asked]

    assert asyncio.run(play()) == [405, 404, 404, 400, 400, 400, 413, 200]
    assert len(server.seen) == 1


def test_a_name_means_what_it_meant_at_the_start(path: Any) -> None:
    async def play() -> str:
        async with path(ForeignServer(), url="http://no-such-name.invalid:{port}/v1") as way:
            return str((await way.ask()).text)

    assert asyncio.run(play()) == TEXT


def test_a_job_that_nobody_waits_for_is_ended_at_the_server(path: Any) -> None:
    server = ForeignServer(stuck=True)

    async def play() -> list[dict[str, Any]]:
        async with path(server) as way:
            asking = asyncio.create_task(way.ask())
            while not way.events("first_token"):
                await asyncio.sleep(0.001)
            way.queue.abandon("p1.1@a")
            with pytest.raises(JobError, match="its connection has ended"):
                await asking
            await server.left.wait()
            return way.events("job_failed")

    assert len(asyncio.run(play())) == 1


def test_slots_are_asked_at_once(path: Any) -> None:
    server = ForeignServer(stuck=True)

    async def play() -> None:
        async with path(server, slots=3) as way:
            asking = [asyncio.create_task(way.ask(job=f"p{number}.1@a")) for number in range(4)]
            while len(way.events("first_token")) < 3:
                await asyncio.sleep(0.001)
            assert [event["job"] for event in way.events("start")] == [f"p{number}.1@a" for number in range(3)]
            for task in asking:
                await ended(task)

    asyncio.run(play())


@pytest.mark.parametrize("slowed_by", ["dilation", "fault"])
def test_a_server_s_seconds_are_seconds_of_the_run(path: Any, tmp_path: Path, slowed_by: str) -> None:
    """The run sees as many seconds as the server takes, or with the fault 4 times as many."""
    server, clock = ForeignServer(pause=0.01), Clock(4.0) if slowed_by == "dilation" else REAL_TIME
    if slowed_by == "fault":
        (tmp_path / "slowness").write_text("4.0")

    async def play() -> list[dict[str, Any]]:
        async with path(server, clock=clock) as way:
            await way.ask()
            return way.events("start", "first_token", "end")

    start, first, end = (event["t"] for event in clock.run(play()))
    factor = 4.0 if slowed_by == "fault" else 1.0
    assert end - start >= factor * 4 * server.pause
    assert first - start >= factor * server.pause


def test_log_probabilities_are_asked_of_servers_that_tell_them(path: Any) -> None:
    server, sampling = ForeignServer(), Sampling(temperature=0, max_tokens=8, seed=1, top_logprobs=2)

    async def play() -> Any:
        async with path(server, logprobs=True) as way:
            return await way.ask(sampling=sampling)

    completion = asyncio.run(play())
    assert completion.logprobs == LogProbabilities(sum=-3.0, mean=-0.75, least=-1.5, tenth_percentile=-1.5, first=0.0)
    assert [token.token for token in completion.token_logprobs] == [word.encode() for word in WORDS]
    assert (server.seen[0]["logprobs"], server.seen[0]["top_logprobs"]) == (True, 2)


REFUSED = {
    "tokens to go on from": (Sampling(0, 8, 1, begun=(1, 2)), "cannot continue from given tokens"),
    "a grammar": (Sampling(0, 8, 1, grammar='root ::= "x"'), "takes no grammar"),
    "an answer without an end": (Sampling(0, 8, 1, ignore_eos=True), "leave out ignore_eos"),
    "log-probabilities": (Sampling(0, 8, 1, top_logprobs=0), "logprobs: true"),
}


@pytest.mark.parametrize(("sampling", "said"), REFUSED.values(), ids=REFUSED)
def test_what_a_server_cannot_do_is_refused_by_name(path: Any, sampling: Sampling, said: str) -> None:
    server = ForeignServer()

    async def play() -> None:
        async with path(server) as way:
            with pytest.raises(JobError, match=said):
                await way.ask(sampling=sampling)
            with pytest.raises(JobError, match="cannot verify a draft"):
                await way.queue.verify("p2.1@a", [{"role": "user", "content": "x"}], [1], SAMPLING, {})
            with pytest.raises(JobError, match="chats only"):
                way.queue.check(PlainText.of("x"))

    asyncio.run(play())
    assert server.seen == []


def test_a_server_that_does_not_answer_ends_the_node_s_start(path: Any) -> None:
    async def play() -> None:
        async with path(ForeignServer(refusals=[(401, {}, "no such key")] * 2), rehearse=True):
            pass

    with pytest.raises(EndpointError, match="401: no such key"):
        asyncio.run(play())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates")
@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_checked(path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=api.test", "-addext", "subjectAltName=DNS:api.test", "-days", "2"]
    subprocess.run([*made, "-keyout", key, "-out", certificate, *names], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def play() -> str:
        async with path(ForeignServer(), tls=tls, url="https://api.test:{port}/v1", key=KEY) as way:
            return str((await way.ask()).text)

    if trusted:
        assert asyncio.run(play()) == TEXT
    else:
        with pytest.raises(JobError, match="TLS cannot be trusted"):
            asyncio.run(play())


FORBIDDEN = {
    "http://169.254.169.254/v1": "link-local",
    "http://[fe80::1]/v1": "link-local",
    "http://[::ffff:169.254.1.1]/v1": "link-local",
    "http://0.0.0.0/v1": "no address of a single server",
    "http://224.0.0.1/v1": "no address of a single server",
    "ftp://api.example/v1": "no http or https URL",
    "api.example/v1": "no http or https URL",
    "https://me:secret@api.example/v1": "no user or password",
    "https://api.example/v1?key=1": "more than a base URL",
    "https://api.example:port/v1": "no URL",
}


@pytest.mark.parametrize(("url", "said"), FORBIDDEN.items())
def test_forbidden_addresses_are_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BaseUrl.parse(url)


@pytest.mark.parametrize(
    "host", ["2852039166", "0xa9fea9fe", "169.254.43518"]
)  # 169.254.169.254, as the resolver reads
def test_spellings_of_forbidden_addresses_are_refused_when_they_are_resolved(host: str) -> None:
    with pytest.raises(ValueError, match="link-local"):
        BaseUrl.parse(f"http://{host}/v1").resolve(secret=False)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]/v1", True),
        ("http://localhost/v1", True),
        ("https://api.example/v1", True),
        ("http://api.example/v1", False),
        ("http://10.0.0.1/v1", False),
        ("http://127.0.0.1.example/v1", False),
    ],
)
def test_a_key_goes_in_plain_text_to_this_host_alone(url: str, allowed: bool) -> None:
    if allowed:
        BaseUrl.parse(url).check_secrecy()
        return
    with pytest.raises(ValueError, match="plain text"):
        BaseUrl.parse(url).check_secrecy()


def test_money_is_never_exceeded_whatever_becomes_of_requests() -> None:
    account = Account(money=1.0, price=Price(input=1e6, output=0))  # 1 for a token read
    with pytest.raises(BudgetSpentError, match="could cost 2"):
        account.reserve(2, 1)
    charge = account.reserve(1, 1)  # nobody says what it did cost, so it stays set aside
    with pytest.raises(BudgetSpentError, match="1 is spent"):
        account.reserve(1, 1)
    charge.settle(0, 5)
    account.reserve(1, 1).withdraw()
    assert account.spent == (1, 0.0)


NODE = "  b: {endpoint: https://api.example/v1, model: theirs, "
MISTAKES = {
    "key: sk-0123456789abcdef}": "a key is no part of a file",
    "budget: 200}": "budget",
    "budget: 200 EUR}": "it like 200 requests",
    "budget: {money: 2.5}}": "nothing says what tokens cost",
    "budget: {}}": "`requests` or `money`",
    "cpus: 0.5}": "cpus",
    "slots: 0}": "slots",
}


@pytest.mark.parametrize(("rest", "said"), MISTAKES.items())
def test_mistakes_in_a_topology_are_explained(files: Any, rest: str, said: str) -> None:
    lines = files.topology.splitlines()
    topology = "\n".join(NODE + rest if line.startswith("  b:") else line for line in lines)
    with pytest.raises(SpecError) as refused:
        load_scenario(files.write(topology=topology))
    assert said in str(refused.value)
    assert "0123456789abcdef" not in str(refused.value)


def test_an_endpoint_is_a_node_without_a_device(files: Any) -> None:
    good = NODE + "slots: 4, key: env:API_KEY, budget: 200 requests, price: {input: 1, output: 2}}"
    lines = files.topology.splitlines()
    scenario = files.load(topology="\n".join(good if line.startswith("  b:") else line for line in lines))
    node = scenario.topology.nodes["b"]
    assert (node.kind, node.budget.requests, node.patience) == ("endpoint", 200, 60.0)
    assert "b" in scenario.topology.agents
    assert "b" not in scenario.topology.emulated


@pytest.mark.parametrize("held", [None, "", "short", "two words of it", "späßchen"])
def test_what_is_no_key_is_refused_before_anything_starts(
    files: Any, monkeypatch: pytest.MonkeyPatch, held: str | None
) -> None:
    monkeypatch.delenv("API_KEY", raising=False)
    if held is not None:
        monkeypatch.setenv("API_KEY", held)
    lines = files.topology.splitlines()
    topology = "\n".join(NODE + "key: env:API_KEY}" if line.startswith("  b:") else line for line in lines)
    node = files.load(topology=topology).topology.nodes["b"]
    with pytest.raises(SpecError, match=r"nodes\.b\.key: ") as refused:
        node.check_host("b", None)
    assert "API_KEY" in str(refused.value)
    assert not held or held not in str(refused.value)
    monkeypatch.setenv("API_KEY", "long-enough")
    node.check_host("b", None)
