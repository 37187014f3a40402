"""Measures how often `testbed compare` is right: sudo .venv/bin/python benchmarks/comparison.py --out DIR

It plays sets of runs with the same seeds: equal ones, and slowed ones in which a node has 20 % less CPU. Each equal set
is compared with the one before it, where any difference is a false alarm. Each slowed set is compared with the equal
one before it, where the slower node must be found. The sets take turns, one run each, so that a slow change of the host
affects all of them alike. Runs that are in DIR already are not played again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rundirs import PROJECT, assigned

SCENARIO: Final = PROJECT / "scenarios/gossip_moa.yaml"
SHORT: Final = ("workload.count=20", "workload.arrivals.rate=1/s", "topology.nodes.a.cpus=0.3")
SLOWED: Final = (*SHORT[:-1], "topology.nodes.a.cpus=0.24")
_TESTBED: Final = (sys.executable, "-m", "testbed")


@dataclass(frozen=True)
class Set:
    """Runs with the same options, in a directory of their own."""

    directory: Path
    options: Sequence[str]

    def play(self, seed: int) -> None:
        """Play the run with this seed, unless it exists."""
        run = self.directory / f"seed-{seed}"
        if run.exists():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [*_TESTBED, "run", str(SCENARIO), "--seed", str(seed), "--out", str(run), *assigned(self.options)]
        with run.with_suffix(".log").open("w") as output:
            # Runs that fail their expectations are compared as well.
            subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)


@dataclass(frozen=True)
class Answer:
    """The result of a comparison: metrics that differ, with their verdicts."""

    base: str
    new: str
    found: dict[str, str]

    @classmethod
    def of(cls, base: Set, new: Set) -> "Answer":
        """Run `testbed compare`."""
        command = [*_TESTBED, "compare", str(base.directory), str(new.directory), "--json"]
        (comparison,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
        verdicts = {metric: change["verdict"] for metric, change in comparison["metrics"].items()}
        found = {metric: it for metric, it in verdicts.items() if it in ("better", "worse", "different")}
        return cls(base.directory.name, new.directory.name, found)


def main() -> None:
    """Play, compare, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of the runs, and of comparison.json")
    parser.add_argument("--equal", type=int, default=20, help="comparisons of equal sets")
    parser.add_argument("--slowed", type=int, default=10, help="comparisons with a slowed set")
    parser.add_argument("--repeat", type=int, default=5, help="runs of a set")
    asked = parser.parse_args()
    equal = [Set(asked.out / f"equal-{n:02}", SHORT) for n in range(asked.equal + 1)]
    slowed = [Set(asked.out / f"slowed-{n:02}", SLOWED) for n in range(asked.slowed)]
    for seed, one in track(list(product(range(asked.repeat), _in_turn(equal, slowed))), "Playing"):
        one.play(seed)
    before = equal[:: max(1, len(equal) // max(1, len(slowed)))]
    alarms = [Answer.of(base, new) for base, new in pairwise(equal)]
    finds = [Answer.of(base, new) for base, new in zip(before, slowed, strict=False)]
    _print(alarms, finds)
    stored = {"equal": [asdict(answer) for answer in alarms], "slowed": [asdict(answer) for answer in finds]}
    (asked.out / "comparison.json").write_text(json.dumps(stored, indent=2) + "\n")


def _in_turn(equal: Sequence[Set], slowed: Sequence[Set]) -> Iterator[Set]:
    """The sets in order of play: each slowed one after the equal one that it is compared with."""
    step = max(1, len(equal) // max(1, len(slowed)))
    for number, one in enumerate(equal):
        yield one
        if number % step == 0 and number // step < len(slowed):
            yield slowed[number // step]


def _print(alarms: Sequence[Answer], finds: Sequence[Answer]) -> None:
    table = Table("base", "new", "found", title="What `testbed compare` found")
    for answer in (*alarms, *finds):
        table.add_row(answer.base, answer.new, ", ".join(f"{name} {it}" for name, it in answer.found.items()) or "–")
    Console().print(table)
    false = sum(bool(answer.found) for answer in alarms)
    right = sum("worse" in answer.found.values() for answer in finds)
    print(
        f"false alarms: {false} of {len(alarms)} (at most one in twenty); slowed nodes found: {right} of {len(finds)}"
    )


if __name__ == "__main__":
    main()
