"""Compares dilated runs with undilated ones: sudo .venv/bin/python benchmarks/dilation.py --out DIR

Two scenarios are played alternately at dilation 1 and 4 with several seeds: `gossip_moa.yaml` at low load and
`queue_stability.yaml` at high load. Each seed gives a pair of runs with the same arrivals, and each metric the ratio of
the second run to the first. The table has the means of these ratios and their 95 % intervals (Student's t).
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML
from rundirs import PROJECT, played, summary

from testbed.analysis.comparison.visits import Estimate

FACTOR: Final = 4
METRICS: Final = ("latency.mean", "queue.mean", "tokens_per_second")

Measured = dict[str, float]
"""The metrics of a run by name, and the mean seconds of an ``inference``."""


@dataclass(frozen=True)
class Case:
    """``pairs`` pairs of short runs of a scenario, with ``rate`` prompts per second and node."""

    scenario: str
    rate: float
    prompts: int
    pairs: int

    def pair(self, seed: int, out: Path) -> tuple[Measured, Measured]:
        """The metrics at dilation 1 and at the larger one."""
        return self._measured(seed, 1, out), self._measured(seed, FACTOR, out)

    def _measured(self, seed: int, dilation: int, out: Path) -> Measured:
        asked: dict[str, Any] = YAML(typ="safe").load(PROJECT / f"scenarios/{self.scenario}.yaml")
        name = f"{self.scenario.replace('_', '-')}-at-{dilation}-seed-{seed}"
        asked |= {"name": name, "seed": seed, "dilation": dilation, "expect": {}}
        asked["workload"] |= {"count": self.prompts, "arrivals": {"rate": f"{self.rate:g}/s"}}
        if isinstance(asked["topology"], str):
            asked["topology"] = str((PROJECT / "scenarios" / asked["topology"]).resolve())
        found = summary(played(asked, out, "--fidelity", "off"))
        nodes = found["nodes"].values()
        inference = sum(node["busy_seconds"] for node in nodes) / sum(node["inferences"] for node in nodes)
        return {name: found["metrics"][name] for name in METRICS} | {"inference": inference}


CASES: Final = (
    Case("gossip_moa", rate=2, prompts=64, pairs=10),
    Case("queue_stability", rate=2, prompts=128, pairs=4),
)


@dataclass(frozen=True)
class Agreement:
    """A metric at both dilations: its means, and the ratio of each pair."""

    case: str
    metric: str
    means: tuple[float, float]
    ratios: Sequence[float]

    @classmethod
    def of(cls, case: Case, metric: str, pairs: Sequence[tuple[Measured, Measured]]) -> "Agreement":
        """The agreement of ``metric`` within ``pairs``."""
        means = mean(fast[metric] for fast, _ in pairs), mean(slow[metric] for _, slow in pairs)
        return cls(case.scenario, metric, means, [slow[metric] / fast[metric] for fast, slow in pairs])

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean ratio."""
        interval = Estimate.of(self.ratios).interval
        assert interval is not None, "there are at least two pairs"
        return interval

    def row(self) -> list[str]:
        """A row of the table."""
        low, high = self.interval
        numbers = (f"{value:.3f}" for value in (*self.means, mean(self.ratios)))
        return [self.case, self.metric, *numbers, f"{low:.3f} to {high:.3f}"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "interval": self.interval}


def main() -> None:
    """Play, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of the runs, and of dilation.json")
    out = parser.parse_args().out
    found = []
    for case in CASES:
        pairs = [case.pair(seed, out) for seed in range(case.pairs)]
        found += [Agreement.of(case, metric, pairs) for metric in (*METRICS, "inference")]
    table = Table("scenario", "mean of", "at 1", f"at {FACTOR}", "ratio", "95 % interval")
    for one in found:
        table.add_row(*one.row())
    Console(width=100).print(table)
    (out / "dilation.json").write_text(json.dumps([one.as_dict() for one in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
