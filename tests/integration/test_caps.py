"""A node behind its cap, as measured inside it: how often it is stopped, and its share of a core."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from observed import FinishedRun, Remains, own_processes, start, wait_for_watchers

from testbed.world.nodes import metronome

CAP = 0.1
SCENARIO = f"""
name: capped
topology: {{name: one, nodes: {{a: {{model: zoo/alpha, cpus: {CAP}, memory: 160MiB}}}}}}
pattern: {{kind: gossip-moa, layers: 0, proposers: 0}}
workload: {{prompts: worldfacts, arrivals: {{process: poisson, rate: 1/s}}, count: 1}}
"""
pytestmark = pytest.mark.measures

SPIN = """
import json, time
stops, begin, used = 0, time.monotonic(), time.process_time()
last = begin
while last < begin + 2:
    now = time.monotonic()
    stops, last = stops + (now - last > 0.003), now
print(json.dumps([stops, (time.process_time() - used) / (last - begin)]))
"""
"""Computes for two seconds. Prints how often it was stopped for more than 3 ms, and its share of a core."""


@pytest.fixture
def node(run: Callable[..., FinishedRun], tmp_path: Path) -> Iterator[docker.models.containers.Container]:
    """The container of a run that was kept."""
    before = Remains.now()
    scenario = tmp_path / "capped.yaml"
    scenario.write_text(SCENARIO)
    name = run(scenario, "--keep", "--fidelity", "off").summary["run"]
    yield docker.from_env().containers.get(f"tb-{name}-a")
    start("clean", name).wait()
    wait_for_watchers()
    assert Remains.now() == before


def _spin(node: docker.models.containers.Container) -> tuple[int, float]:
    stops, share = json.loads(node.exec_run(["python3", "-c", SPIN]).output)
    return stops, share


def test_a_node_gets_its_share_a_little_in_each_period(node: docker.models.containers.Container) -> None:
    evenly, share = _spin(node)
    assert CAP / 2 < share < CAP * 1.1
    if not metronome.needed():
        pytest.skip("this kernel's own clock keeps to caps, so there is nothing to compare with")
    (beating,) = own_processes(metronome.__name__)
    beating.suspend()
    in_bursts, _ = _spin(node)
    assert evenly > 2 * in_bursts
