"""Ten thousand requests that nobody thought of, at a node of 160 MiB and 0.2 CPUs."""

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from api_fuzzing import Request, check, exchange, requests
from hypothesis import HealthCheck, given, settings
from observed import run_of, start, wait_for_stage

from testbed.world.nodes.cgroups import Cgroup
from testbed.world.nodes.containers import container_name
from testbed.world.world import SHARED

REQUESTS = 10_000
SPARE = 10 * 2**20

QUIET = """
name: quiet
topology:
  name: two
  nodes:
    a: {model: zoo/alpha, cpus: 0.2, memory: 160MiB}
    b: {model: zoo/beta, cpus: 0.2, memory: 160MiB}
  links: [{endpoints: [a, b]}]
pattern: {kind: gossip-moa, layers: 0, proposers: 0}
workload: {prompts: worldfacts, arrivals: {process: poisson, rate: 0.001/s}, count: 100}
"""


class Node:
    """A node that nobody asks but the test."""

    def __init__(self, run: str) -> None:
        self._socket = SHARED / run / "nodes" / "a" / "agent.sock"
        self.container = docker.from_env().containers.get(container_name(run, "a"))

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(120)
        connection.connect(str(self._socket))
        return connection

    def ask(self, request: Request) -> tuple[int, bytes] | None:
        with closing(self.connect()) as connection:
            return exchange(connection, request)

    @property
    def memory(self) -> int:
        """Bytes of its processes."""
        return Cgroup(self.container.attrs["State"]["Pid"]).read().memory


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    scenario = tmp_path / "quiet.yaml"
    scenario.write_text(QUIET)
    runner = start("run", scenario, "--fidelity", "off", "--out", tmp_path / "run")
    wait_for_stage(runner, "play")
    run = run_of(runner)
    assert run is not None
    yield Node(run)
    runner.send_signal(signal.SIGINT)
    runner.communicate()


def _chat(text: str) -> Request:
    body = json.dumps({"messages": [{"role": "user", "content": text}], "max_tokens": 2}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return Request(head.encode() + body, None)


def _settled(node: Node) -> int:
    """Its memory once it has answered a few usual chats."""
    for number in range(20):
        answer = node.ask(_chat(f"Hello {number}"))
        assert answer is not None
        assert answer[0] == 200
    return node.memory


def test_no_request_makes_a_node_fail_or_grow(node: Node) -> None:
    begin = _settled(node)

    @settings(max_examples=REQUESTS, deadline=None, derandomize=True, database=None, suppress_health_check=HealthCheck)
    @given(requests())
    def ask(request: Request) -> None:
        check(node.ask(request))

    ask()
    assert _settled(node) < begin + SPARE


def test_clients_that_leave_after_a_megabyte_each_leave_nothing(node: Node) -> None:
    begin = _settled(node)
    whole = _chat("x" * 1_000_000)
    for _ in range(2 * 12):
        node.ask(Request(whole.content, len(whole.content)))
    assert _settled(node) < begin + SPARE
