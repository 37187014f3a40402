"""What simulations predict of real runs, beside what those measured.

    python benchmarks/simulation_validation.py CALIBRATING_RUN VALID_RUN… > validation.json

Each prediction is the mean of twenty simulations that differ in what they draw from the calibrating run. Arrivals,
questions and peers are those of the real run, by its seed.
"""

import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from testbed.schema.scenario import load_scenario
from testbed.simulation.calibration import Calibration
from testbed.simulation.network import LinkNetwork
from testbed.simulation.simulation import simulate
from testbed.simulation.sources import Redrawn

DRAWS: Final = 20


def main() -> None:
    """Print a row for each run, as JSON."""
    calibrating, *runs = map(Path, sys.argv[1:])
    calibration = Calibration.of([calibrating])
    print(json.dumps([row(calibration, calibrating, run) for run in runs], indent=1))


def row(calibration: Calibration, calibrating: Path, run: Path) -> dict[str, Any]:
    """Measured and predicted latency, queue, traffic and accuracy of one run."""
    summary = json.loads((run / "summary.json").read_text())
    if summary["fidelity"]["verdict"] != "valid":
        raise SystemExit(f"{run} is {summary['fidelity']['verdict']}; only valid runs count")
    scenario, metrics = load_scenario(run / "scenario.yaml"), summary["metrics"]
    courses = [
        simulate(
            scenario,
            Redrawn(calibration, scenario.workload.scorer, draw),
            LinkNetwork(scenario.topology, calibration.overhead),
            record=False,
        )
        for draw in range(DRAWS)
    ]
    predicted = {
        "latency.mean": fmean(course.latency for course in courses),
        "queue.mean": fmean(course.queue for course in courses),
        "bytes_on_links": fmean(sum(sum(link.values()) for link in course.traffic.values()) for course in courses),
        "accuracy": fmean(fmean(course.scores.values()) for course in courses),
    }
    return {
        "calibrated_by": calibrating.name,
        "run": run.name,
        "seed": scenario.seed,
        "nodes": len(scenario.topology.agents),
        "prompts": metrics["prompts"],
        "load_of_the_busiest": max(node["queue"]["offered"] for node in summary["nodes"].values()),
        "measured": {name: metrics[name] for name in predicted},
        "predicted": predicted,
        "error": {name: predicted[name] / metrics[name] - 1 for name in predicted if name != "accuracy"},
    }


if __name__ == "__main__":
    main()
