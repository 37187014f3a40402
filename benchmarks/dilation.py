"""Whether a run in slow motion tells the same: sudo .venv/bin/python benchmarks/dilation.py --out DIR

The scenario of `queue_stability.yaml` is played at dilation 1 and at 4, in turns, with several seeds. Each seed gives a
pair of runs with the same arrivals; what the second measured is divided by what the first did. The table has the means
of these ratios and their 95 % intervals (Student's t).
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML
from rundirs import PROJECT, played, summary

from testbed.results.sweep import Estimate

SCENARIO: Final = PROJECT / "scenarios/queue_stability.yaml"
FACTOR: Final = 4
PROMPTS: Final = 128
METRICS: Final = ("latency.mean", "queue.mean", "tokens_per_second")


def scenario(seed: int, dilation: int) -> dict[str, Any]:
    """A short run of it."""
    asked: dict[str, Any] = YAML(typ="safe").load(SCENARIO)
    asked["workload"]["count"] = PROMPTS
    return asked | {"name": f"dilation-{dilation}-seed-{seed}", "seed": seed, "dilation": dilation}


def measured(seed: int, dilation: int, out: Path) -> dict[str, float]:
    """The metrics of a run, and the mean time of an inference."""
    found = summary(played(scenario(seed, dilation), out, "--fidelity", "off"))
    nodes = found["nodes"].values()
    inference = sum(node["busy_seconds"] for node in nodes) / sum(node["inferences"] for node in nodes)
    return {name: found["metrics"][name] for name in METRICS} | {"inference": inference}


def main() -> None:
    """Play, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of the runs, and of dilation.json")
    parser.add_argument("--seeds", type=int, default=4, help="how many pairs of runs, at least two")
    asked = parser.parse_args()
    pairs = [[measured(seed, dilation, asked.out) for dilation in (1, FACTOR)] for seed in range(asked.seeds)]
    table = Table("mean of", "at 1", f"at {FACTOR}", "ratio", "95 % interval", title=f"Dilation 1 and {FACTOR}")
    stored = {}
    for name in (*METRICS, "inference"):
        ratios = [slow[name] / fast[name] for fast, slow in pairs]
        ratio = Estimate.of(ratios)
        assert ratio.interval is not None, "there are at least two pairs"
        low, high = ratio.interval
        means = [mean(pair[number][name] for pair in pairs) for number in range(2)]
        table.add_row(name, *(f"{value:.3f}" for value in (*means, ratio.mean)), f"{low:.3f} to {high:.3f}")
        stored[name] = {"means": means, "ratios": ratios, "interval": [low, high]}
    Console().print(table)
    (asked.out / "dilation.json").write_text(json.dumps(stored, indent=2) + "\n")


if __name__ == "__main__":
    main()
