"""Security between nodes: those of a run understand each other, and nobody else gets or does anything."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loopback
import pytest
from nodes import ADDRESSES, configured, node
from ringed import running, unsplit
from strangers import doors, sent, unverifying

from testbed.core.errors import SpecError
from testbed.node.calls import asking
from testbed.node.calls.asking import NAME
from testbed.node.config import RING_PORT
from testbed.node.openai.chats import ChatRequest
from testbed.node.participant import CHATS
from testbed.node.ring.wire.frames import Format, Frame
from testbed.node.ring.wire.messages import Alive, Freeing
from testbed.node.transport import datagrams, streams
from testbed.node.transport.door import Door
from testbed.node.transport.http import HttpClient
from testbed.node.transport.refusals import Refusals, Traffic, UnauthenticatedError
from testbed.node.transport.signed_http import HEADER, check_request, sign_request
from testbed.node.transport.signing import Signer, Window
from testbed.patterns.participant import Completion, Prompt
from testbed.patterns.pipeline import Pipeline
from testbed.schema.scenario import Security
from testbed.world.authority import issue

MakeTrace = Callable[[str], Any]
SCHEMES: list[Security] = ["signed", "mutual-tls"]
SECRET = "the prompt is quixotic"


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    free = loopback.free_port()
    monkeypatch.setattr(asking, "PORT", free)
    return free


def _asked(text: str = SECRET, **metadata: str) -> bytes:
    request = ChatRequest.model_validate({"messages": [{"role": "user", "content": text}], "metadata": metadata})
    return request.model_dump_json(exclude_defaults=True).encode()


def _raw(body: bytes, headers: dict[str, str], method: str = "POST", path: str = CHATS) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: b", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Capitals:
    """Completes a chat with its last message in capitals."""

    def complete(self, chat: Any, *_: Any) -> Completion:
        return Completion(chat[-1]["content"].upper(), 1, 1, True, None)

    def check(self, chat: Any) -> None:
        pass


async def _answering(door: Door, make_trace: MakeTrace, tmp_path: Path, stack: contextlib.AsyncExitStack) -> None:
    """Node b, which answers requests."""
    config = configured("b", {"a": ADDRESSES["a"]})
    await stack.enter_async_context(
        node(config, Capitals(), make_trace("b").trace, tmp_path, ADDRESSES["b"], door=door)
    )


class TestRequests:
    @pytest.mark.parametrize("security", ["none", *SCHEMES])
    def test_nodes_of_a_run_answer_each_other(self, security: Security, make_trace: MakeTrace, tmp_path: Path) -> None:
        made, refused = doors(security, ADDRESSES)

        async def play() -> str:
            async with contextlib.AsyncExitStack() as stack:
                await _answering(made["b"], make_trace, tmp_path, stack)
                config = configured("a", {"b": ADDRESSES["b"]})
                a = node(config, Capitals(), make_trace("a").trace, tmp_path, ADDRESSES["a"], door=made["a"])
                _, agent = await stack.enter_async_context(a)
                assert None not in (await agent.reach()).values()
                return await agent.answer(Prompt("p1", SECRET))

        assert SECRET.upper() in asyncio.run(play()).upper()
        assert make_trace("b").read("computed", "job_done", "receive")
        assert not any(refused.values())

    @pytest.mark.parametrize("security", SCHEMES)
    @pytest.mark.parametrize("known", ["nothing", "another run's credentials"])
    def test_a_stranger_gets_nothing(
        self, security: Security, known: str, make_trace: MakeTrace, tmp_path: Path, port: int
    ) -> None:
        made, refused = doors(security, ADDRESSES)
        theirs, _ = doors(security if known != "nothing" else "none", ADDRESSES)

        async def play() -> None:
            async with contextlib.AsyncExitStack() as stack:
                await _answering(made["b"], make_trace, tmp_path, stack)
                client = await stack.enter_async_context(HttpClient(unverifying(theirs["a"])))
                for method, path in (("POST", CHATS), ("GET", "/v1/models"), ("DELETE", "/v1/calls/p1")):
                    try:
                        reply = await client.request(method, ADDRESSES["b"], port, path, _asked())
                    except ConnectionError:
                        continue
                    assert reply.status == 401
                    assert b"zoo" not in reply.body

        asyncio.run(play())
        made["b"].refusals.close()
        assert refused["b"].count("handshakes" if security == "mutual-tls" else "requests") >= 3
        assert make_trace("b").read() == []

    def test_a_request_that_was_recorded_is_refused(self, make_trace: MakeTrace, tmp_path: Path, port: int) -> None:
        made, refused = doors("signed", ADDRESSES)
        signer, body, said = made["a"].messages, _asked(owner="a"), {NAME: "p1.1@b"}
        assert signer is not None

        async def play() -> list[bytes]:
            async with contextlib.AsyncExitStack() as stack:
                await _answering(made["b"], make_trace, tmp_path, stack)
                signature = sign_request(signer, "b", "POST", CHATS, said, body).header("a")
                recorded = _raw(body, said | {HEADER: signature})
                return [await sent(ADDRESSES["b"], port, recorded) for _ in range(3)]

        first, *again = asyncio.run(play())
        assert first.startswith(b"HTTP/1.1 200 ")
        assert [answer[:13] for answer in again] == [b"HTTP/1.1 401 "] * 2
        assert all(b"it was sent before" in answer and b'"error"' in answer for answer in again)
        assert len(make_trace("b").read("receive")) == 1
        made["b"].refusals.close()
        assert refused["b"].count("requests") == 2

    @pytest.mark.parametrize("changed", ["body", "header", "path", "method", "name", "no signature"])
    def test_a_request_that_was_changed_is_refused(
        self, changed: str, make_trace: MakeTrace, tmp_path: Path, port: int
    ) -> None:
        made, refused = doors("signed", ADDRESSES | {"c": loopback.address(3)})
        signer, body, said = made["a"].messages, _asked(), {NAME: "p1.1@b"}
        assert signer is not None
        signature = {HEADER: sign_request(signer, "b", "POST", CHATS, said, body).header("a")}
        raw = {
            "body": _raw(_asked("another"), said | signature),
            "header": _raw(body, {NAME: "p2.1@b"} | signature),
            "path": _raw(body, said | signature, path="/v1/completions"),
            "method": _raw(body, said | signature, method="DELETE", path="/v1/calls/p1"),
            "name": _raw(body, said | {HEADER: "c" + signature[HEADER][1:]}),
            "no signature": _raw(body, said),
        }[changed]

        async def play() -> bytes:
            async with contextlib.AsyncExitStack() as stack:
                await _answering(made["b"], make_trace, tmp_path, stack)
                return await sent(ADDRESSES["b"], port, raw)

        assert asyncio.run(play()).startswith(b"HTTP/1.1 401 ")
        assert make_trace("b").read() == []
        assert len(refused["b"]) == 1

    @pytest.mark.parametrize("security", SCHEMES)
    def test_a_node_that_asks_in_the_name_of_another_is_refused(
        self, security: Security, make_trace: MakeTrace, tmp_path: Path, port: int
    ) -> None:
        made, _ = doors(security, ADDRESSES | {"c": loopback.address(3)})

        async def play() -> list[int]:
            async with contextlib.AsyncExitStack() as stack:
                await _answering(made["b"], make_trace, tmp_path, stack)
                client = await stack.enter_async_context(HttpClient(made["a"]))
                owners = ("c", "a")
                return [
                    (await client.request("POST", ADDRESSES["b"], port, CHATS, _asked(owner=owner))).status
                    for owner in owners
                ]

        assert asyncio.run(play()) == [403, 200]
        (event,) = make_trace("b").read("impersonated")
        assert (event["peer"], event["said"]) == ("a", "c")

    @pytest.mark.parametrize("security", SCHEMES)
    @pytest.mark.parametrize("who", ["c", "a stranger"])
    def test_nobody_answers_in_the_name_of_the_asked_node(
        self, security: Security, who: str, make_trace: MakeTrace, tmp_path: Path, port: int
    ) -> None:
        """Another node at the asked one's address, as after a spoofed ARP reply."""
        made, _ = doors(security, ADDRESSES | {"c": loopback.address(3)})

        async def play() -> None:
            async with contextlib.AsyncExitStack() as stack:
                await _answering(made.get(who, Door()), make_trace, tmp_path, stack)
                client = await stack.enter_async_context(HttpClient(made["a"]))
                with pytest.raises(ConnectionError):
                    await client.request("GET", ADDRESSES["b"], port, "/v1/models")

        asyncio.run(play())


class TestSignatures:
    def test_each_message_costs_less_than_100_bytes(self) -> None:
        made, _ = doors("signed", {"raspberry-pi-4": "10.0.0.1", "b": "10.0.0.2"})
        signer = made["raspberry-pi-4"].messages
        assert signer is not None
        header = sign_request(signer, "b", "POST", CHATS, {}, b"x" * 1000).header(signer.name)
        assert len(f"{HEADER}: {header}\r\n") < 100
        assert len(datagrams.signed(b"ping", signer, "b")) - len(b"ping") < 100

    def test_a_third_node_cannot_sign_for_another_and_nothing_can_be_sent_back(self) -> None:
        made, _ = doors("signed", {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"})
        a, b, c = (made[name].datagrams for name in "abc")
        assert a is not None and b is not None and c is not None
        datagram = datagrams.signed(b"ping", a, "b")
        assert datagrams.opened(datagram, b) == ("a", b"ping")
        for receiver in (a, c):
            with pytest.raises(UnauthenticatedError):
                datagrams.opened(datagrams.signed(b"ping", a, "b"), receiver)
        forged = datagrams.signed(b"ping", c, "b")
        with pytest.raises(UnauthenticatedError, match="signature is wrong"):
            datagrams.opened(forged.replace(b"\x01c", b"\x01a", 1), b)
        with pytest.raises(UnauthenticatedError, match="sent before"):
            datagrams.opened(datagram, b)

    def test_what_was_sent_before_a_node_started_is_refused_after_it(self) -> None:
        keys = {"a": bytes(32)}
        stamp = Signer("a", {"b": bytes(32)}).stamp()
        with pytest.raises(UnauthenticatedError, match="too old"):
            Signer("b", keys).admit("a", stamp)

    def test_the_window_takes_each_stamp_once_in_any_order(self) -> None:
        window = Window(floor=10, size=4)
        for stamp in (20, 18, 22, 19):
            window.take(stamp)
        for stamp in (20, 18, 22, 19, 10, 3):
            with pytest.raises(UnauthenticatedError):
                window.take(stamp)
        window.take(30)  # the window moves on, beyond 18
        with pytest.raises(UnauthenticatedError, match="too old"):
            window.take(17)
        window.take(21)

    def test_a_header_that_is_no_signature_is_refused(self) -> None:
        signer = Signer("b", {"a": bytes(32)})
        for header in ("", "a", "a:", "a:!!!", "a:" + "A" * 54, "ä:ö", ":", "x" * 5000):
            with pytest.raises(UnauthenticatedError):
                check_request(signer, "GET", "/", {HEADER: header})


class TestStreams:
    @pytest.mark.parametrize("security", ["none", *SCHEMES])
    @pytest.mark.parametrize("nodes", ["a", "abc"])
    def test_a_ring_says_what_one_model_says(self, security: Security, nodes: str, make_trace: MakeTrace) -> None:
        ring = Pipeline.model_validate({"kind": "pipeline", "ring": list(nodes), "detect": "20s"})
        made, refused = doors(security, {name: loopback.address(1 + at) for at, name in enumerate(nodes)})

        async def play() -> Any:
            async with running(ring, make_trace, made) as fake:
                return await fake.complete("alpha")

        assert asyncio.run(play()) == unsplit("alpha", len(nodes), 8)
        assert not any(refused.values())

    @pytest.mark.parametrize("security", SCHEMES)
    def test_only_nodes_of_the_ring_have_a_place_in_it(self, security: Security, make_trace: MakeTrace) -> None:
        pattern = Pipeline.model_validate({"kind": "pipeline", "ring": ["a", "b"], "detect": "20s"})
        made, refused = doors(security, {name: loopback.address(1 + at) for at, name in enumerate("abc")})
        other, _ = doors(security, {name: loopback.address(1 + at) for at, name in enumerate("abc")})
        layout = Format(32, pattern.activations)

        async def play() -> Any:
            async with running(pattern, make_trace, made) as ring:
                for door in (Door(), unverifying(other["a"]), made["c"]):
                    with contextlib.suppress(OSError, ssl.SSLError):
                        outlet = await streams.connect(ring.address("b"), RING_PORT, 5, door)
                        outlet.write(layout.write(Frame(1, Freeing([0]))))
                        await outlet.ended()
                outlet = await streams.connect(ring.address("a"), RING_PORT, 5, made["b"])
                outlet.write(layout.write(Frame(0, Alive(0))))  # b says that it is a
                while not ring.traces["a"].read("frame_rejected"):
                    await asyncio.sleep(0.01)
                outlet.abort()
                return await ring.complete("alpha")

        assert asyncio.run(play()) == unsplit("alpha", 2, 8)
        made["b"].refusals.close()
        assert refused["b"].count("streams") + refused["b"].count("handshakes") == 3
        assert "c has no place in this ring" in refused["b"].reasons
        assert "stage 1 says" in make_trace("a").read("frame_rejected")[0]["reason"]

    def test_a_recorded_stream_is_refused_from_its_greeting_on(self) -> None:
        addresses = {"a": loopback.address(1), "b": loopback.address(2)}
        made, refused = doors("signed", addresses)
        signer = made["a"].messages
        assert signer is not None
        stamp = signer.stamp()
        key = signer.sending_key("b", b"stream", stamp)
        greeting = b"\x01a" + stamp + signer.sign("b", b"stream", stamp)
        records = [streams._record(key, number, b"frame %d" % number) for number in range(3)]
        received = list[bytes]()

        class Frames(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                received.append(data)

        async def play(*parts: bytes) -> None:
            port = loopback.free_port()
            async with streams.listening(lambda _: Frames(), addresses["b"], port, made["b"]):
                await sent(addresses["b"], port, b"".join(parts))

        asyncio.run(play(greeting, *records[:2], records[1]))  # the last is sent again
        assert received == [b"frame 0", b"frame 1"]
        asyncio.run(play(greeting, *records))
        assert received == [b"frame 0", b"frame 1"]
        made["b"].refusals.close()
        assert refused["b"].reasons == ["its signature is wrong", "it was sent before"]


def test_refusals_are_all_counted_and_seldom_told() -> None:
    told = list[tuple[Traffic, int]]()

    async def play() -> None:
        refusals = Refusals(lambda traffic, _, count: told.append((traffic, count)))
        for _ in range(1000):
            refusals.note("datagrams", "no")
        refusals.close()

    asyncio.run(play())
    assert told == [("datagrams", 1), ("datagrams", 999)]


def test_credentials_do_not_show_in_messages() -> None:
    credentials = issue("mutual-tls", {"a": "10.0.0.1", "b": "10.0.0.2"})["a"]
    assert credentials is not None
    assert credentials.members["b"].key not in repr(credentials)
    assert "PRIVATE" not in repr(credentials)


def test_each_run_has_keys_of_its_own_and_each_pair_one() -> None:
    addresses = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}
    one, two = issue("signed", addresses), issue("signed", addresses)
    keys = [member.key for run in (one, two) for node in run.values() if node for member in node.members.values()]
    assert len(keys) == 18
    assert len(set(keys)) == 12  # six pairs a run, each node's with itself included
    assert issue("none", addresses) == dict.fromkeys("abc")


def test_wireguard_is_refused_by_its_name(files: Any) -> None:
    with pytest.raises(SpecError, match=r"security: wireguard is not supported; mutual-tls encrypts"):
        files.load("security=wireguard")
    with pytest.raises(SpecError, match=r"security: .*'signed'"):
        files.load("security=tls")
    assert files.load("security=signed").security == "signed"
