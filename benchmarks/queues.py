"""Queues on both sides of saturation, beside theory: sudo .venv/bin/python benchmarks/queues.py --out DIR

First runs at several rates of prompts say what load each makes: it does not rise in proportion, since a node that is
seldom busy is faster. `testbed sweep` then visits the rates at which that makes the loads asked for, each with three
seeds; what DIR holds already is not played again. Alone, a node's jobs come independently of each other, as in the
queueing model; with neighbours they come in bursts.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rundirs import PROJECT, assigned, summary

from testbed.analysis.comparison.visits import Estimate
from testbed.schema.points import Point

LOADS: Final = (0.5, 0.8, 2.0)  # the last beyond saturation by more than a host becomes faster between two runs
MEASURED: Final = 0.8  # up to this load first runs say which rate makes it; above, rates are in proportion
SEEDS: Final = 3
CPUS: Final = 0.3  # of a node

Queue = Mapping[str, Any]
"""What ``summary.json`` says of a node's queue."""


@dataclass(frozen=True)
class Case:
    """So many layers and proposers; how many prompts make a run long enough; and the rates, in prompts per second and
    node, of the first runs, from a low load to beyond saturation."""

    layers: int
    proposers: int
    prompts: int
    first: Sequence[float]

    @property
    def name(self) -> str:
        """``M=1,k=3``"""
        return f"M={self.layers},k={self.proposers}"

    def sweep(self, rates: Sequence[float], prompts: int, seeds: int, out: Path) -> list[list[Queue]]:
        """At each rate, the queues of all nodes in all runs."""
        settings = {
            "pattern.layers": self.layers,
            "pattern.proposers": self.proposers,
            "workload.count": prompts,
            **{f"topology.nodes.{node}.cpus": CPUS for node in "abcd"},
        }
        options = assigned(f"{key}={value}" for key, value in settings.items())
        points = [Point(set={"rate": f"{rate:g}/s"}) for rate in rates]
        grid = f"rate={','.join(point.texts['rate'] for point in points)}"
        command = [sys.executable, "-m", "testbed", "sweep", "scenarios/queue_stability.yaml", *options]
        subprocess.run([*command, "--grid", grid, "--repeat", str(seeds), "--out", out], cwd=PROJECT, check=True)
        return [_queues(out / point.directory) for point in points]

    def rates(self, out: Path) -> list[float]:
        """Those that should make the loads asked for, by what first runs measured."""
        seen = self.sweep(self.first, self.prompts // 3, seeds=1, out=out / f"{self.name}-first")
        loads = [0.0, *(fmean(queue["utilisation"] for queue in queues) for queues in seen)]
        measured = np.interp(np.minimum(LOADS, MEASURED), loads, [0.0, *self.first])
        return [float(f"{rate:.3g}") for rate in measured * np.maximum(np.divide(LOADS, MEASURED), 1.0)]


CASES: Final = (
    Case(1, 3, prompts=1000, first=(2.5, 4.0, 5.5, 7.0, 9.0)),
    Case(0, 0, prompts=3000, first=(15.0, 24.0, 33.0, 42.0, 60.0)),
)


@dataclass(frozen=True)
class Finding:
    """What came of one case at one load."""

    case: Case
    load: float
    rate: float
    queues: Sequence[Queue]

    def mean(self, figure: str) -> float | None:
        """Over nodes and runs; None where any has none."""
        values = [queue[figure] for queue in self.queues]
        return None if None in values else fmean(values)

    @property
    def ratio(self) -> Estimate | None:
        """The queues measured as a share of the model's, with the interval that follows from the runs."""
        if self.mean("model") is None:
            return None
        nodes = len(self.queues) // SEEDS
        runs = [self.queues[first : first + nodes] for first in range(0, len(self.queues), nodes)]
        return Estimate.of([_total(run, "mean_under_load") / _total(run, "model") for run in runs])

    @property
    def growing(self) -> int:
        """How many queues grew."""
        return sum(queue["verdict"] == "unstable" for queue in self.queues)

    def as_dict(self) -> dict[str, Any]:
        """To store."""
        kept = ("utilisation", "offered", "theorem", "mean_under_load", "model", "trend", "verdict")
        queues = [{figure: queue[figure] for figure in kept} for queue in self.queues]
        return {"case": self.case.name, "load": self.load, "rate": self.rate, "queues": queues}

    def row(self) -> list[str]:
        """Of the table."""
        model, ratio = self.mean("model"), self.ratio
        chances = [queue["trend"]["p"] for queue in self.queues]
        return [
            self.case.name,
            f"{self.load:g}",
            f"{self.rate:g}/s",
            f"{self.mean('utilisation'):.2f}",
            f"{self.mean('mean_under_load'):.2f}",
            "–" if model is None else f"{model:.2f}",
            "–" if ratio is None else f"{ratio.mean:.2f} ± {ratio.margin:.2f}",
            f"{self.growing} of {len(self.queues)}",
            f"{min(chances):.2g} to {max(chances):.2g}",
        ]


def _queues(directory: Path) -> list[Queue]:
    """Those of all nodes, run after run."""
    runs = [summary(path.parent) for path in sorted(directory.glob("*/summary.json"))]
    return [node["queue"] for run in runs for node in run["nodes"].values()]


def _total(queues: Sequence[Queue], figure: str) -> float:
    return sum(float(queue[figure]) for queue in queues)


def main() -> None:
    """Play, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of the runs, and of queues.json")
    out = parser.parse_args().out.absolute()
    findings = []
    for case in CASES:
        rates = case.rates(out)
        seen = case.sweep(rates, case.prompts, SEEDS, out / case.name)
        findings += [Finding(case, *found) for found in zip(LOADS, rates, seen, strict=True)]
    table = Table(title="Queues and theory")
    for heading in ("", "load", "rate", "utilisation", "mean queue", "model", "as its share", "growing", "p"):
        table.add_column(heading, no_wrap=True)
    for finding in findings:
        table.add_row(*finding.row())
    Console(width=120).print(table)
    (out / "queues.json").write_text(json.dumps([finding.as_dict() for finding in findings], indent=1) + "\n")


if __name__ == "__main__":
    main()
