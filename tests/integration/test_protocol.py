"""Nodes that are too busy, hang, or are started again, and what it costs the prompts."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
from observed import GOSSIP, PROJECT, FinishedRun, run_of, start, wait_for_stage

from testbed.world.nodes.client import AWAY
from testbed.world.nodes.containers import container_name
from testbed.world.world import SHARED

Run = Callable[..., FinishedRun]


class Playing:
    """A run that plays, and one of its nodes."""

    def __init__(self, directory: Path, node: str, *options: str) -> None:
        self._path = directory / "run"
        self._runner = start("run", GOSSIP, "--fidelity", "off", "--out", self._path, *options)
        wait_for_stage(self._runner, "play")
        run = run_of(self._runner)
        assert run is not None
        self.container = docker.from_env().containers.get(container_name(run, node))
        self._trace = SHARED / run / "nodes" / node / "events.jsonl"

    def wait_for(self, happened: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for an event of the node."""
        with subprocess.Popen(["tail", "-n", "+1", "-f", self._trace], stdout=subprocess.PIPE, text=True) as events:
            assert events.stdout is not None
            assert any(happened(json.loads(line)) for line in events.stdout)
            events.terminate()

    def finish(self) -> FinishedRun:
        output, _ = self._runner.communicate()
        return FinishedRun(self._path, self._runner.returncode, output)


def test_full_queues_refuse_and_every_prompt_ends(run: Run) -> None:
    counts = 'expect={rejected: ">= 1", queue.max: "<= 4", completed: "> 0"}'
    overflow = run(PROJECT / "scenarios" / "queue_overflow.yaml", "--fidelity", "off", "--set", counts)
    assert overflow.exit_code == 0, overflow.output
    ends = [event["prompt"] for event in overflow.events if event["event"] in ("answer", "failed", "lost")]
    assert sorted(ends) == sorted(overflow.times("prompt", "prompt"))
    assert set(overflow.summary["failures"].values()) == {"the queue is full (4 jobs)"}


@pytest.mark.usefixtures("nothing_left")
def test_a_node_that_hangs_is_asked_no_more_once_it_is_suspected(tmp_path: Path) -> None:
    options = ("membership.period=500ms", "pattern.timeout=3s", "workload.count=40", "workload.arrivals.rate=1/s")
    playing = Playing(tmp_path, "d", *(word for option in options for word in ("--set", option)))
    playing.wait_for(lambda event: event["event"] == "answer")
    playing.container.pause()
    run = playing.finish()
    suspected, lost = (
        {event["node"]: event["t"] for event in run.events if event["event"] == kind and event["peer"] == "d"}
        for kind in ("neighbour_suspected", "neighbour_lost")
    )
    assert suspected.keys() == lost.keys() == set("abc")
    sent = [event for event in run.events if event["event"] == "send" and event["peer"] == "d"]
    asked = [event for event in sent if event["message"].endswith("/request")]  # one on its way may be repeated
    assert asked, "it was asked while it answered"
    assert [event for event in asked if event["t"] > suspected[event["node"]]] == []
    owners = {event["prompt"]: event["owner"] for event in run.events if event["event"] == "prompt"}
    assert {owners[prompt] for prompt in run.summary["failures"]} == {"d"}


@pytest.mark.usefixtures("nothing_left")
def test_a_node_that_is_killed_and_started_again_ends_its_prompts_and_does_nothing_twice(tmp_path: Path) -> None:
    """Its network is gone with it, so its own model answers alone."""
    options = ("pattern.layers=3", "topology.nodes.a.cpus=0.1", "workload.count=20", "workload.arrivals.rate=1/s")
    playing = Playing(tmp_path, "a", *(word for option in options for word in ("--set", option)))
    playing.wait_for(lambda event: event["event"] == "arrival")
    playing.container.kill()
    playing.container.start()
    run = playing.finish()
    if run.seconds_away("a") < AWAY:  # a busy host may need longer to start it, and then its prompts are lost
        assert run.summary["metrics"]["completed"] == 1
        assert run.times("resumed", "prompt")
    for kind in ("arrival", "answer"):
        times = Counter(event["prompt"] for event in run.events if event["event"] == kind)
        assert set(times.values()) == {1}
    assert set(Counter(event["job"] for event in run.events if event["event"] == "end").values()) == {1}
