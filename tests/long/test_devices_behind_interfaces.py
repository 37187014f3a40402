"""Runs with a device behind an interface of this host, which a network namespace plays."""

import re
import signal
from pathlib import Path

from observed import FinishedRun, start, wait_for_stage, wait_for_watchers
from played_boards import PlayedBoard, played_board

from testbed.host.interfaces import interfaces

SCENARIO = """
name: device
seed: 1
topology:
  name: device
  nodes:
    a: {model: zoo/alpha, cpus: 0.3, memory: 160MiB}
    b: {model: zoo/beta, cpus: 0.3, memory: 160MiB}
    pi: {interface: NIC}
  switches: [s1]
  links:
    - {endpoints: [a, s1], bandwidth: 10mbit, delay: 10ms}
    - {endpoints: [b, s1], bandwidth: 10mbit, delay: 10ms}
    - {endpoints: [pi, s1], bandwidth: 10mbit, delay: 20ms}
pattern: {kind: gossip-moa, layers: 1, proposers: 1}
workload: {prompts: worldfacts, arrivals: {process: poisson, rate: 1/s}, count: COUNT}
"""
ADDRESS = "10.0.0.3"  # of the third node


def _begin(tmp_path: Path, board: PlayedBoard, count: int):
    file = tmp_path / "device.yaml"
    file.write_text(SCENARIO.replace("NIC", board.nic).replace("COUNT", str(count)))
    runner = start("run", file, "--out", tmp_path / "run")
    wait_for_stage(runner, "play")
    return runner


def _round_trip(ping: str) -> float:
    """Milliseconds of the fastest ping."""
    found = re.search(r"= ([\d.]+)/", ping)
    assert found, ping
    return float(found[1])


def test_a_device_is_a_node_behind_an_emulated_link(tmp_path: Path) -> None:
    with played_board(ADDRESS) as board:
        before = board.settled()
        runner = _begin(tmp_path, board, 6)
        assert board.nic not in interfaces()
        assert 60 <= _round_trip(board.do("ping -n -c 3 10.0.0.1")) < 70  # twice 10 ms and 20 ms, and sending
        output, _ = runner.communicate()
        links = FinishedRun(tmp_path / "run", runner.returncode, output).summary["fidelity"]["links"]
        assert all(0.02 <= links["pi-s1"][direction]["before"]["delay"] < 0.03 for direction in ("up", "down"))
        assert board.settled() == before


def test_the_watcher_brings_the_interface_home(tmp_path: Path) -> None:
    with played_board(ADDRESS) as board:
        before = board.settled()
        runner = _begin(tmp_path, board, 400)
        runner.send_signal(signal.SIGKILL)
        wait_for_watchers()
        assert board.settled() == before
