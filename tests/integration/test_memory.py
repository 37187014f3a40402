"""Memory caps are real: what does not fit is refused, and what outgrows its cap is named."""

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from observed import FinishedRun, Remains, container_of, start, wait_for_stage

from testbed.models.random_weights import RECIPES

TIGHT = """
name: tight
topology:
  name: two
  nodes:
    a: {model: zoo/alpha, cpus: 0.3, memory: 80MiB}
    b: {model: zoo/beta, cpus: 0.3, memory: 160MiB}
  switches: [s1]
  links: [{endpoints: [a, s1]}, {endpoints: [b, s1]}]
pattern: {kind: gossip-moa, layers: 1, proposers: 1, timeout: 2s}
workload: {prompts: worldfacts, arrivals: {process: poisson, rate: 2/s}, count: 40}
"""
TWINS = """
name: twins
topology:
  name: two
  nodes:
    a: {model: "synthetic:microllama-300m-q4_0", cpus: 0.5, memory: 512MiB}
    b: {model: "synthetic:microllama-300m-q4_0", cpus: 0.5, memory: 512MiB}
  links: [{endpoints: [a, b]}]
pattern: {kind: gossip-moa, layers: 0, proposers: 0}
sampling: {max_tokens: 4}
workload: {prompts: worldfacts, arrivals: {process: poisson, rate: 2/s}, count: 2}
"""

CHARGED_AHEAD = 64 * 4096 * (os.cpu_count() or 1)
"""Bytes that a cgroup counts and no process has: each CPU charges 64 pages ahead (MEMCG_CHARGE_BATCH, memcontrol.c)."""

FILL_MEMORY = "dd if=/dev/zero of=/dev/shm/filled bs=1M count=60"
"""Lets a node's memory grow: a tmpfs is charged to the container that writes to it, and cannot be reclaimed."""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "tight.yaml"
    path.write_text(TIGHT)
    return path


@pytest.mark.usefixtures("nothing_left")
def test_a_model_larger_than_its_node_is_refused_with_the_sum(scenario: Path) -> None:
    runner = start("run", scenario, "--set", "topology.nodes.a.memory=32MiB")
    output, _ = runner.communicate()
    assert runner.returncode == 2
    assert "node 'a' cannot hold zoo/alpha: agent 56.0 + weights 2.1 + tokenizer" in output
    assert "its memory is 32MiB" in output


def test_two_nodes_with_one_model_pay_for_it_twice(run: Callable[..., FinishedRun], tmp_path: Path) -> None:
    (tmp_path / "twins.yaml").write_text(TWINS)
    nodes = run(tmp_path / "twins.yaml", "--fidelity", "off").summary["nodes"]
    weights = RECIPES["microllama-300m-q4_0"].size
    assert min(nodes[name]["memory"]["peak"] for name in "ab") > weights


@pytest.mark.usefixtures("nothing_left")
def test_a_node_that_outgrows_its_cap_is_named_and_the_others_go_on(
    scenario: Path,
    tmp_path: Path,
) -> None:
    runner = start("run", scenario, "--fidelity", "off", "--out", tmp_path / "run")
    wait_for_stage(runner, "play")
    container_of(runner, "a").exec_run(FILL_MEMORY)
    output, _ = runner.communicate()
    run = FinishedRun(tmp_path / "run", runner.returncode, output)
    assert run.summary["nodes"]["a"]["state"] == "out of memory"
    assert run.summary["nodes"]["b"]["state"] == "running"
    ended = (
        run.times("answer", "prompt").keys() | run.times("failed", "prompt").keys() | run.times("lost", "prompt").keys()
    )
    assert len(ended) == 40
    of_b = {event["prompt"] for event in run.events if event["event"] == "prompt" and event["owner"] == "b"}
    assert of_b <= run.times("answer", "prompt").keys()
    assert set(run.summary["failures"].values()) == {"a: out of memory"}


@pytest.mark.usefixtures("nothing_left")
def test_psutil_and_the_cgroup_differ_by_what_only_one_of_them_counts(scenario: Path, tmp_path: Path) -> None:
    """psutil adds files that containers share; the cgroup those that it read first, and the part of the kernel."""
    runner = start("run", scenario, "--fidelity", "off", "--out", tmp_path / "run")
    wait_for_stage(runner, "play")
    for node in ("a", "b"):
        pid = container_of(runner, node).attrs["State"]["Pid"]
        own, charged, only_charged = _own_memory(pid), *_charged_memory(pid)
        assert own + only_charged == pytest.approx(charged, rel=0.05, abs=CHARGED_AHEAD)
    runner.communicate()


def _own_memory(pid: int) -> int:
    """Bytes that a container's processes have resident without files, by psutil."""
    init = psutil.Process(pid)
    memory = [process.memory_info() for process in (init, *init.children(recursive=True))]
    return sum(one.rss - one.shared for one in memory)


def _charged_memory(pid: int) -> tuple[int, int]:
    """Bytes that a container's cgroup counts, and how many of them are files and the kernel's."""
    memberships = dict(line.split(":")[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    root = Path("/sys/fs/cgroup")
    if "memory" in memberships:
        group = root / "memory" / memberships["memory"].lstrip("/")
        kernel, charged = (int((group / f"memory.{name}_in_bytes").read_text()) for name in ("kmem.usage", "usage"))
        return charged, _stat(group)["cache"] + kernel
    group = root / memberships[""].lstrip("/")
    stat = _stat(group)
    return int((group / "memory.current").read_text()), stat["file"] + stat["kernel"]


def _stat(group: Path) -> dict[str, int]:
    return {name: int(value) for name, value in map(str.split, (group / "memory.stat").read_text().splitlines())}


def test_more_cpu_than_the_host_has_is_refused_unless_allowed(scenario: Path) -> None:
    before = Remains.now()
    runner = start("run", scenario, "--set", "topology.nodes.b.cpus=64")
    output, _ = runner.communicate()
    assert runner.returncode == 3
    assert "the nodes ask for 64.3 CPUs" in output
    assert Remains.now() == before
