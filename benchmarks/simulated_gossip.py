"""How gossip grows from 4 to 10,000 users: simulated on generated topologies, with the busiest node at one load.

    python benchmarks/simulated_gossip.py SCENARIO RUN… > benchmarks/results/simulated_gossip.json

Each node asks linked ones alone. The rate of prompts is the one at which the busiest node has a load of 0.6, by the
pattern's own count of calls and the calibrated service times.
"""

import json
import math
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from testbed.run.checked import load_checked
from testbed.run.simulating import on_topology
from testbed.schema.scenario import Scenario
from testbed.simulation.calibration import Calibration
from testbed.simulation.network import LinkNetwork
from testbed.simulation.simulation import simulate
from testbed.simulation.sources import Redrawn

LOAD: Final = 0.6
SIZES: Final = (4, 30, 100, 1000, 10_000)
LEAST_PROMPTS: Final = 2000
PROPOSERS: Final = 3


def main() -> None:
    """Print a row for each topology and size, as JSON."""
    scenario_path, *runs = map(Path, sys.argv[1:])
    calibration = Calibration.of(runs)
    rows = []
    for nodes in SIZES:
        for recipe in recipes(nodes):
            rows.append(point(scenario_path, calibration, recipe, nodes))
            print(rows[-1], file=sys.stderr, flush=True)
    print(json.dumps(rows, indent=1))


def recipes(nodes: int) -> list[str]:
    """A scale-free and a geometric topology, whose devices have about 6 and 24 links; of 4 nodes, a full mesh each."""
    if nodes <= 4:
        return [f"geometric:nodes={nodes},radius=2"]
    radius = min(2.0, math.sqrt(24 / math.pi / nodes))
    return [f"scale-free:nodes={nodes},links={PROPOSERS}", f"geometric:nodes={nodes},radius={radius:.4f}"]


def point(path: Path, calibration: Calibration, recipe: str, nodes: int) -> dict[str, Any]:
    """The figures of one topology."""
    began = time.process_time()
    prompts = max(LEAST_PROMPTS, 10 * nodes)
    keys = [f"pattern.proposers={PROPOSERS}", "pattern.neighbours=linked", f"workload.count={prompts}"]
    scenario = on_topology(load_checked(path, keys), recipe)
    rate = LOAD / heaviest(scenario, calibration)
    arrivals = scenario.workload.arrivals.model_copy(update={"rate": rate})
    workload = scenario.workload.model_copy(update={"arrivals": arrivals})
    scenario = scenario.model_copy(update={"workload": workload})
    ready = time.process_time()
    source = Redrawn(calibration, scenario.workload.scorer, scenario.seed)
    course = simulate(scenario, source, LinkNetwork(scenario.topology, calibration.overhead), record=False)
    latencies = sorted(course.latencies.values())
    return {
        "topology": recipe,
        "nodes": nodes,
        "prompts": prompts,
        "rate": rate,
        "load_mean": fmean(course.loads.values()),
        "load_max": course.load,
        "latency_mean": fmean(latencies),
        "latency_p95": latencies[math.ceil(0.95 * len(latencies)) - 1],
        "queue_mean": course.queue,
        "queue_busiest": max(course.queues.values()),
        "bytes_per_prompt": sum(sum(link.values()) for link in course.traffic.values()) / prompts,
        "accuracy": fmean(course.scores.values()),
        "cpu_seconds_prepare": ready - began,
        "cpu_seconds_simulate": time.process_time() - ready,
    }


def heaviest(scenario: Scenario, calibration: Calibration) -> float:
    """The seconds of work that the busiest node gets, when one prompt arrives at every node."""
    seconds = {
        role: fmean(
            one
            for (kind, _, _), all_ in calibration.services.items()
            if kind.role == role and kind.reads in (0, PROPOSERS + 1)
            for one in all_
        )
        for role in ("answer", "aggregation")
    }
    neighbours = {node: scenario.neighbours(node) for node in scenario.topology.agents}
    asked = dict.fromkeys(neighbours, 0.0)
    for peers in neighbours.values():
        for peer in peers:
            asked[peer] += PROPOSERS / len(peers)
    return max((1 + calls) * seconds["answer"] + seconds["aggregation"] for calls in asked.values())


if __name__ == "__main__":
    main()
