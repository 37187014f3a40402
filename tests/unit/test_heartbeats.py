"""Heartbeats over real UDP, on addresses of this host."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import loopback
import pytest

from testbed.node.config import NodeConfig
from testbed.node.membership import heartbeats as heartbeats_module
from testbed.node.membership.heartbeats import Heartbeats
from testbed.node.transport.door import Door
from testbed.patterns.protocol import MembershipOptions

ADDRESSES = {"a": loopback.address(1), "b": loopback.address(2), "c": loopback.address(3)}
QUICK = MembershipOptions.model_validate({"period": "40ms", "timeout": "20ms", "suspicion": "60ms"})


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    free = loopback.free_port(socket.SOCK_DGRAM)
    monkeypatch.setattr(heartbeats_module, "HEARTBEAT_PORT", free)
    return free


async def _listening(name: str, make_trace: Callable[[str], Any]) -> Heartbeats:
    neighbours = {other: address for other, address in ADDRESSES.items() if other != name}
    config = NodeConfig.model_validate(
        {
            "name": name,
            "address": ADDRESSES[name],
            "neighbours": neighbours,
            "pattern_classes": {"gossip-moa": "testbed.patterns.gossip_moa:GossipMoa"},
            "pattern": {"kind": "gossip-moa", "layers": 1, "proposers": 1},
            "queue": {},
            "retry": {},
            "membership": {},
            "model": "zoo/a",
            "context": 512,
            "threads": 1,
            "temperature": 0.0,
            "max_tokens": 24,
            "seed": 7,
        }
    )
    node = Heartbeats(config, QUICK, make_trace(name).trace, Door())
    await node.listen()
    return node


def test_a_neighbour_that_falls_silent_is_lost_and_back_when_it_speaks_again(
    make_trace: Callable[[str], Any], port: int
) -> None:
    async def play() -> None:
        with ExitStack() as stack:
            for name in "ab":
                node = await _listening(name, make_trace)
                stack.enter_context(closing(node))
                node.begin()
                if name == "a":
                    watched = node
            await watched.gone("c")
            while watched.present() != ["b"]:  # a busy host makes b late now and then
                await asyncio.sleep(0.01)
            with socket.socket(type=socket.SOCK_DGRAM) as stranger:
                stranger.sendto(b"no message of ours", (ADDRESSES["a"], port))
            stack.enter_context(closing(await _listening("c", make_trace)))
            while watched.present() != ["b", "c"]:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(play(), 60))
    seen = [event["event"] for event in make_trace("a").read() if event["peer"] == "c"]
    assert seen[0] == "neighbour_suspected"
    assert seen[-1] == "neighbour_back"
    assert "neighbour_lost" in seen


def test_what_did_not_answer_a_request_is_not_present_until_it_answers_a_ping(
    make_trace: Callable[[str], Any],
) -> None:
    async def play() -> None:
        with closing(await _listening("a", make_trace)) as one, closing(await _listening("b", make_trace)):
            one.suspect("b")
            assert one.present() == ["c"]
            while one.present() != ["b", "c"]:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(play(), 60))
