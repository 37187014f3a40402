"""A foreign server as a node of a real world: its path, its time, its key and its budget, from one run."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from foreign_server import ForeignServer, foreign_server
from observed import FinishedRun, container_of, start, wait_for_stage

KEY = "sk-9f3c77e1a4b2d8"
BUDGET = 12
DELAY = 0.03

TOPOLOGY = """\
name: with-a-foreign-server
nodes:
  a: {{model: zoo/alpha, cpus: 0.5, memory: 160MiB}}
  cloud:
    endpoint: http://127.0.0.1:{port}/v1
    model: theirs
    key: env:TESTBED_TEST_KEY
    budget: {budget} requests
    price: {{input: 1, output: 2}}
links:
  - {{endpoints: [a, cloud], bandwidth: 20mbit, delay: 30ms}}
"""

SCENARIO = """\
name: foreign
topology: topology.yaml
seed: 5
pattern: {kind: gossip-moa, layers: 1, proposers: 1, timeout: 5min}
workload: {prompts: worldfacts, arrivals: {process: poisson, rate: 2/s}, count: 12}
expect: {completed: ">= 0.1"}
"""


@dataclass
class Seen:
    """A run, the server that it asked, and what was found in and of the node's container while it played."""

    run: FinishedRun
    server: ForeignServer
    inspected: str
    reaching_out: str
    processes: str


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    directory = tmp_path_factory.mktemp("endpoint")
    server, out = ForeignServer(pause=0.01, words=("The capital ", f"is {KEY}.")), directory / "run"
    with pytest.MonkeyPatch.context() as patch, _Served(server) as port:
        patch.setenv("TESTBED_TEST_KEY", KEY)
        (directory / "topology.yaml").write_text(TOPOLOGY.format(port=port, budget=BUDGET))
        (directory / "scenario.yaml").write_text(SCENARIO)
        process = start("run", directory / "scenario.yaml", "--out", out, "--fidelity", "off")
        wait_for_stage(process, "play")
        container = container_of(process, "cloud")
        inspected = json.dumps(container.attrs)
        knock = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        reaching_out = container.exec_run(["python3", "-c", knock]).output.decode()
        processes = "\n".join(path.read_bytes().decode() for path in _command_lines())
        output, _ = process.communicate()
    yield Seen(FinishedRun(out, process.returncode, output), server, inspected, reaching_out, processes)


class _Served:
    """The port at which a server is served, in a thread with a loop of its own."""

    def __init__(self, server: ForeignServer) -> None:
        self._server, self._ready, self._loop = server, threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def __enter__(self) -> int:
        self._thread.start()
        assert self._ready.wait(30)
        return self._port

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        async with foreign_server(self._server) as self._port:
            self._ready.set()
            await self._over.wait()


def _command_lines() -> Iterator[Path]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"testbed" in path.read_bytes():
                yield path
        except OSError:  # it has ended
            continue


def test_the_run_ends_cleanly_when_the_budget_is_spent(seen: Seen) -> None:
    assert seen.run.exit_code == 0, seen.run.output
    assert seen.run.summary["invariants"] == []
    failed = [event for event in seen.run.events if event["event"] == "endpoint_failed"]
    assert {event["kind"] for event in failed} == {"budget"}
    assert len(seen.server.seen) == BUDGET
    ends = [event for event in seen.run.events if event["event"] == "end" and event["node"] == "cloud"]
    assert len(ends) == BUDGET - 1, "one was asked before play"
    cost = sum(event["prompt_tokens"] + 2 * event["tokens"] for event in ends) / 1e6
    assert seen.run.summary["metrics"]["cost.cloud"] is None
    assert seen.run.summary["metrics"]["cost"] == pytest.approx(cost)


def test_the_key_reaches_the_server_and_is_found_nowhere_else(seen: Seen) -> None:
    assert set(seen.server.keys) == {f"Bearer {KEY}"}
    assert [path for path in seen.run.path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []
    assert KEY not in seen.run.output + seen.inspected + seen.processes
    texts = [event["text"] for event in seen.run.events if event["event"] == "end" and event["node"] == "cloud"]
    assert set(texts) == {"The capital is [key]."}


def test_the_node_has_no_other_way_to_the_server(seen: Seen) -> None:
    assert "ConnectionRefusedError" in seen.reaching_out
    assert json.loads(seen.inspected)["HostConfig"]["NetworkMode"] == "none"


def test_latency_is_path_and_service(seen: Seen, record_testsuite_property: Callable[[str, object], None]) -> None:
    """Counted apart from the testbed: the server's own times, the links' delays, and the rest, which is recorded.

    All times are of this host's CLOCK_MONOTONIC; those of events count from a moment that is not written down.
    The order of moments and the links' delays hold on any host; how small the rest is depends on how busy the host is.
    """
    at = _moments(seen.run)
    asked = sorted(job for job in at["start"] if job.endswith("@cloud"))
    done = [job for job in asked if job in at["end"]]
    jobs = sorted(done, key=lambda job: at["start"][job])
    services = [end - begin for begin, end in seen.server.times[1:]]
    assert len(jobs) == len(services) == BUDGET - 1
    overheads = []
    for job, service in zip(jobs, services, strict=True):
        took = at["end"][job] - at["start"][job]
        assert took >= seen.server.pause * len(seen.server.words), "the server waits so long in all"
        overheads.append(took - service)
    away = [job for job in jobs if f"{job}/request" in at["send"]]
    assert away, "node a asked none of them"
    rests = []
    for job in away:
        sent, received = at["send"][f"{job}/request"], at["receive"][f"{job}/response"]
        there, back = at["receive"][f"{job}/request"], at["send"][f"{job}/response"]
        waited = at["start"][job] - at["enqueue"][job]
        moments = [sent, there, at["enqueue"][job], at["start"][job], at["end"][job], back, received]
        assert all(earlier <= later for earlier, later in pairwise(moments))
        assert there - sent >= DELAY * 0.99 and received - back >= DELAY * 0.99
        rests.append((received - sent) - 2 * DELAY - waited - (at["end"][job] - at["start"][job]))
    record_testsuite_property("milliseconds beside the server's own time", f"{1e3 * median(overheads):.2f}")
    record_testsuite_property("milliseconds beside path, queue and service", f"{1e3 * median(rests):.2f}")


def _moments(run: FinishedRun) -> dict[str, dict[str, float]]:
    """When events happened, by kind and by the job or message."""
    kinds = ("enqueue", "start", "end", "send", "receive")
    found: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    for event in run.events:
        if event["event"] in kinds:
            found[event["event"]].setdefault(event.get("job") or event["message"], event["t"])
    return found
