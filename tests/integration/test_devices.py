"""Nodes that stand for devices: as much CPU as makes them as fast, and refused where that is more than there is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from observed import FinishedRun, Remains

pytestmark = pytest.mark.measures

Run = Callable[..., FinishedRun]

SCENARIO = """
name: board
topology:
  name: one
  devices: boards.yaml
  nodes: {a: {device: board, model: zoo/alpha}}
pattern: {kind: gossip-moa, layers: 0, proposers: 0}
workload: {prompts: worldfacts, arrivals: {process: poisson, rate: 10/s}, count: 20}
"""
BOARD = """
board: {cores: 1, memory: 160MiB, model: zoo/alpha, weights: 2224512B, tokens_per_second: 200, source: this test}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    (tmp_path / "boards.yaml").write_text(BOARD)
    path = tmp_path / "board.yaml"
    path.write_text(SCENARIO)
    return path


def test_a_node_has_the_share_that_its_device_takes(run: Run, scenario: Path) -> None:
    finished = run(scenario, "--fidelity", "off")
    assert finished.exit_code == 0, finished.output
    node = finished.summary["nodes"]["a"]
    device = node["device"]
    assert (device["profile"], device["asked"]) == ("board", pytest.approx(200, rel=0.01))
    assert device["cpus"] == pytest.approx(device["asked"] / device["host"])
    assert 0 < node["writing_rate"] < device["host"]
    manifest = json.loads((finished.path / "manifest.json").read_text())
    assert manifest["devices"]["a"]["published"]["source"] == "this test"
    assert manifest["devices"]["a"]["memory"] == 160 * 2**20
    resolved = (finished.path / "scenario.yaml").read_text()
    assert "device: board" in resolved
    assert "cpus:" not in resolved, "another host must measure for itself"


def test_a_host_that_is_too_slow_is_told_before_anything_starts(run: Run, scenario: Path) -> None:
    before = Remains.now()
    finished = run(scenario, "--set", "topology.nodes.a.device=edge-server", "--set", "topology.nodes.a.memory=160MiB")
    assert finished.exit_code == 3
    assert "edge-server writes 88.14 tokens/s with Llama 3.2 3B Q4_K_M, so 88.14 × 1.88 GiB ÷" in finished.output
    assert "computes with one" in finished.output
    assert Remains.now() == before
