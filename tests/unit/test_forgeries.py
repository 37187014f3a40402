"""What was recorded and sent again, and what is sent in another's name: by requests, by streams, and by heartbeats."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import replace
from typing import Any

import loopback
import pytest
from aiohttp import web
from nodes import configured
from strangers import doors

from testbed.node.membership import heartbeats as heartbeats_module
from testbed.node.membership.heartbeats import Heartbeats
from testbed.node.membership.swim import Heartbeat
from testbed.node.transport import streams
from testbed.node.transport.datagrams import Datagrams
from testbed.node.transport.door import Door, signer_of
from testbed.node.transport.http import HttpClient, body_of, sender_of, serving
from testbed.patterns.protocol import MembershipOptions
from testbed.schema.scenario import Security
from testbed.world.authority import issue

ADDRESSES = {name: loopback.address(1 + number) for number, name in enumerate("abc")}
B = ADDRESSES["b"]
SECURITY: list[Security] = ["none", "signed", "mutual-tls"]


class Taken:
    """The messages that node b has taken, each with the name that is proven of its sender."""

    def __init__(self) -> None:
        self.senders: list[str | None] = []
        self._more = asyncio.Event()

    def take(self, sender: str | None) -> None:
        self.senders.append(sender)
        self._more.set()

    async def more(self, than: int) -> None:
        """Wait until there are more than so many."""
        while len(self.senders) <= than:
            self._more.clear()
            await self._more.wait()


@asynccontextmanager
async def _serving(door: Door, port: int, taken: Taken) -> AsyncIterator[None]:
    async def handle(request: web.Request) -> web.Response:
        await body_of(request)
        taken.take(sender_of(request))
        return web.Response()

    application = web.Application()
    application.router.add_post("/", handle)
    async with serving(application, B, port, door, shutdown=0.01):
        yield


async def _request(door: Door, port: int) -> None:
    async with HttpClient(door) as client:
        await client.request("POST", B, port, "/", b"hello")


def _listening(door: Door, port: int, taken: Taken) -> AbstractAsyncContextManager[None]:
    class Frames(asyncio.Protocol):
        def __init__(self, sender: str | None) -> None:
            self._sender = sender

        def data_received(self, data: bytes) -> None:
            assert data == b"hello"
            taken.take(self._sender)

    return streams.listening(Frames, B, port, door)


async def _stream(door: Door, port: int, taken: Taken) -> None:
    before = len(taken.senders)
    outlet = await streams.connect(B, port, 5, door)
    outlet.write(b"hello")
    await _either(taken.more(before), outlet.ended())
    outlet.abort()


async def _either(*waits: Any) -> None:
    """Wait for the first of these."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _recording(tap: int, port: int) -> AsyncIterator[bytearray]:
    """All that goes to ``port`` of b by way of ``tap``, as somebody on the link records it."""
    recorded = bytearray()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: bytearray) -> None:
        with suppress(OSError), closing(writer):
            while data := await reader.read(2**16):
                copy += data
                writer.write(data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(B, port)
        await asyncio.gather(forward(reader, far_writer, recorded), forward(far_reader, writer, bytearray()))

    async with await asyncio.start_server(relay, B, tap):
        yield recorded


async def _again(recorded: bytes, port: int, taken: Taken) -> None:
    """Send it on a new connection, and wait until it is taken, or the connection has ended."""
    before = len(taken.senders)
    reader, writer = await asyncio.open_connection(B, port)
    writer.write(recorded)
    await _either(taken.more(before), reader.read())
    writer.close()


def _forging(security: Security) -> tuple[Mapping[str, Door], Door, Any]:
    """The doors of a run, that of its node c which says that it is a, and what b refuses."""
    made, refused = doors(security, ADDRESSES)
    credentials = issue(security, ADDRESSES)["c"]  # of another run, which changes nothing: c has not the key of a and b
    if credentials is None:
        return made, made["c"], refused["b"]
    forged, true = signer_of(credentials, "a"), made["c"]
    return made, replace(true, messages=true.messages and forged, datagrams=forged), refused["b"]


@pytest.mark.parametrize("security", SECURITY)
@pytest.mark.parametrize("carrier", ["requests", "streams"])
def test_a_recorded_connection_is_taken_again_only_without_security(security: Security, carrier: str) -> None:
    made, refused = doors(security, ADDRESSES)
    port, tap = loopback.free_port(), loopback.free_port()

    async def play() -> list[str | None]:
        taken = Taken()
        listening = _serving if carrier == "requests" else _listening
        async with asyncio.timeout(30), listening(made["b"], port, taken):
            async with _recording(tap, port) as recorded:
                if carrier == "requests":
                    await _request(made["a"], tap)
                else:
                    await _stream(made["a"], tap, taken)
            for _ in range(2):
                await _again(bytes(recorded), port, taken)
        return taken.senders

    senders = asyncio.run(play())
    made["b"].refusals.close()
    if security == "none":
        assert (senders, refused["b"]) == ([None] * 3, [])
    else:
        assert senders == ["a"]
        assert refused["b"].count("handshakes" if security == "mutual-tls" else carrier) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("security", SECURITY)
def test_a_recorded_heartbeat_is_taken_again_only_without_security(security: Security) -> None:
    made, refused = doors(security, ADDRESSES)
    port, tap = (loopback.free_port(socket.SOCK_DGRAM) for _ in range(2))

    async def play() -> list[str | None]:
        taken, last = Taken(), asyncio.Event()
        b = Datagrams(lambda data, sender: last.set() if data == b"last" else taken.take(sender), made["b"])
        a = Datagrams(lambda *_: None, made["a"])
        await b.open(B, port)
        await a.open(ADDRESSES["a"], port)
        with closing(a), closing(b), socket.socket(type=socket.SOCK_DGRAM) as link:
            link.bind((B, tap))
            a.send(b"hello", B, tap)
            recorded = await asyncio.to_thread(link.recv, 2**16)
            for _ in range(3):
                link.sendto(recorded, (B, port))
            a.send(b"last", B, port)
            async with asyncio.timeout(30):
                await last.wait()
        return taken.senders

    senders = asyncio.run(play())
    made["b"].refusals.close()
    assert senders == ([None] * 3 if security == "none" else ["a"])
    assert refused["b"].count("datagrams") == (0 if security == "none" else 2)


@pytest.mark.parametrize("security", SECURITY)
@pytest.mark.parametrize("carrier", ["requests", "streams"])
def test_nobody_is_taken_for_another_node_where_nodes_prove_who_they_are(security: Security, carrier: str) -> None:
    made, forging, refused = _forging(security)
    port = loopback.free_port()

    async def play() -> list[str | None]:
        taken = Taken()
        listening = _serving if carrier == "requests" else _listening
        async with asyncio.timeout(30), listening(made["b"], port, taken):
            with suppress(ConnectionError):
                await (_request(forging, port) if carrier == "requests" else _stream(forging, port, taken))
        return taken.senders

    senders = asyncio.run(play())
    made["b"].refusals.close()
    assert senders == {"none": [None], "signed": [], "mutual-tls": ["c"]}[security]
    assert refused.reasons == (["its signature is wrong"] * len(refused) if security == "signed" else [])


@pytest.mark.parametrize("security", SECURITY)
@pytest.mark.parametrize("signing", ["as itself", "as the victim"])
def test_a_heartbeat_in_the_name_of_another_counts_only_without_security(
    security: Security, signing: str, make_trace: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Node c pings b as a. Whoever is believed gets an answer."""
    made, forging, refused = _forging(security)
    port = loopback.free_port(socket.SOCK_DGRAM)
    monkeypatch.setattr(heartbeats_module, "HEARTBEAT_PORT", port)
    config = configured("b", {name: ADDRESSES[name] for name in "ac"})
    ping = {"kind": "ping", "incarnation": 0, "number": 1, "subject": "b"}

    async def play() -> list[bool]:
        answered = {name: asyncio.Event() for name in "ac"}
        async with AsyncExitStack() as stack:
            b = stack.enter_context(closing(Heartbeats(config, MembershipOptions(), make_trace("b").trace, made["b"])))
            await b.listen()
            nodes = {}
            for name, door in {"a": made["a"], "c": made["c"]}.items():
                nodes[name] = Datagrams(lambda *_, name=name: answered[name].set(), door)
                await nodes[name].open(ADDRESSES[name], port)
                stack.enter_context(closing(nodes[name]))
            liar = Datagrams(lambda *_: None, forging if signing == "as the victim" else made["c"])
            await liar.open(ADDRESSES["c"], loopback.free_port(socket.SOCK_DGRAM))
            stack.enter_context(closing(liar))
            liar.send(Heartbeat(source="a", origin="a", **ping).model_dump_json().encode(), B, port)
            nodes["c"].send(Heartbeat(source="c", origin="c", **ping).model_dump_json().encode(), B, port)
            async with asyncio.timeout(30):
                await answered["c"].wait()
                if security == "none":
                    await answered["a"].wait()
        return [answered[name].is_set() for name in "ac"]

    assert asyncio.run(play()) == [security == "none", True]
    made["b"].refusals.close()
    told = [(event["peer"], event["said"]) for event in make_trace("b").read("impersonated")]
    assert told == ([("c", "a")] if security != "none" and signing == "as itself" else [])
    assert refused.count("datagrams") == (security != "none" and signing == "as the victim")
