"""Compares queues below and above saturation with theory: sudo .venv/bin/python benchmarks/queues.py --out DIR

First, runs at several rates measure the load of each. Load is not proportional to the rate, because a rarely busy node
is faster. Then `testbed sweep` visits the rates of the wanted loads with three seeds each. Runs that are in DIR already
are not played again. The jobs of a node alone arrive independently, as in the queueing model; with neighbours they
arrive in bursts.
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

LOADS: Final = (0.5, 0.8, 2.0)  # the last stays above saturation even if the host gets faster between runs
MEASURED: Final = 0.8  # up to this load the first runs decide the rate; above it, rates are extrapolated in proportion
SEEDS: Final = 3
CPUS: Final = 0.3  # of a node

Queue = Mapping[str, Any]
"""The figures of a node's queue in ``summary.json``."""


@dataclass(frozen=True)
class Case:
    """A number of layers and proposers, the prompts of a run, and the rates of the first runs.

    Rates are in prompts per second and node, from low load to beyond saturation.
    """

    layers: int
    proposers: int
    prompts: int
    first: Sequence[float]

    @property
    def name(self) -> str:
        """The case's name: ``M=1,k=3``."""
        return f"M={self.layers},k={self.proposers}"

    def sweep(self, rates: Sequence[float], prompts: int, seeds: int, out: Path) -> list[list[Queue]]:
        """The queues of all nodes in all runs, by rate."""
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
        """The rates of the wanted loads, estimated from the first runs."""
        seen = self.sweep(self.first, self.prompts // 3, seeds=1, out=out / f"{self.name}-first")
        loads = [0.0, *(fmean(queue["utilisation"] for queue in queues) for queues in seen)]
        measured = np.interp(np.minimum(LOADS, MEASURED), loads, [0.0, *self.first])
        return [float(f"{rate:.3g}") for rate in measured * np.maximum(np.divide(LOADS, MEASURED), 1.0)]


CASES: Final = (
    Case(1, 3, prompts=1000, first=(2.5, 4.0, 5.5, 7.0, 9.0)),
    Case(0, 0, prompts=3000, first=(15.0, 24.0, 33.0, 42.0, 60.0)),
)


@dataclass(frozen=True)
class LoadResult:
    """The results of one case at one load."""

    case: Case
    load: float
    rate: float
    queues: Sequence[Queue]

    def mean(self, figure: str) -> float | None:
        """The mean of ``figure`` over nodes and runs; None if one has no value."""
        values = [queue[figure] for queue in self.queues]
        return None if None in values else fmean(values)

    @property
    def ratio(self) -> Estimate | None:
        """The ratio of measured queues to those of the model, with its interval over the runs."""
        if self.mean("model") is None:
            return None
        nodes = len(self.queues) // SEEDS
        runs = [self.queues[first : first + nodes] for first in range(0, len(self.queues), nodes)]
        return Estimate.of([_total(run, "mean_under_load") / _total(run, "model") for run in runs])

    @property
    def growing(self) -> int:
        """The number of queues that grew until the end."""
        return sum(queue["verdict"] == "unstable" for queue in self.queues)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        kept = ("utilisation", "offered", "theorem", "mean_under_load", "model", "trend", "verdict")
        queues = [{figure: queue[figure] for figure in kept} for queue in self.queues]
        return {"case": self.case.name, "load": self.load, "rate": self.rate, "queues": queues}

    def row(self) -> list[str]:
        """A row of the table."""
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
    """The queues of all nodes of the runs in ``directory``."""
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
        findings += [LoadResult(case, *found) for found in zip(LOADS, rates, seen, strict=True)]
    table = Table(title="Queues and theory")
    for heading in ("", "load", "rate", "utilisation", "mean queue", "model", "as its share", "growing", "p"):
        table.add_column(heading, no_wrap=True)
    for finding in findings:
        table.add_row(*finding.row())
    Console(width=120).print(table)
    (out / "queues.json").write_text(json.dumps([finding.as_dict() for finding in findings], indent=1) + "\n")


if __name__ == "__main__":
    main()
