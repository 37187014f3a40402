"""Partitions four nodes under load into two pairs: sudo .venv/bin/python benchmarks/partition.py --out DIR

It compares each pair's answers per second during the partition with those of two nodes alone. It checks that every
prompt ended within its timeouts, and measures the seconds from the end of the partition until all are neighbours again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rundirs import played

SIDES: Final = (("a", "b"), ("c", "d"))
MODELS: Final = {"a": "alpha", "b": "beta", "c": "gamma", "d": "delta"}
BEGIN: Final = 5.0
LASTS: Final = 10.0
TIMEOUT: Final = 3.0  # of a layer
PERIOD: Final = 0.5  # of the heartbeats


def scenario(nodes: Sequence[str], rate: float, seed: int, parted: bool) -> dict[str, Any]:
    """A scenario of nodes on one switch, long enough that prompts still arrive after the partition."""
    return {
        "name": f"parted-{''.join(nodes)}",
        "topology": {
            "name": "switch",
            "defaults": {"link": {"bandwidth": "10mbit", "delay": "10ms"}},
            "nodes": {node: {"model": f"zoo/{MODELS[node]}", "cpus": 0.2, "memory": "160MiB"} for node in nodes},
            "switches": ["s1"],
            "links": [{"endpoints": [node, "s1"]} for node in nodes],
        },
        "seed": seed,
        "pattern": {
            "kind": "gossip-moa",
            "layers": 1,
            "proposers": len(nodes) - 1,
            "timeout": f"{TIMEOUT:g}s",
        },
        "membership": {"period": f"{PERIOD * 1e3:g}ms"},
        "workload": {
            "prompts": "worldfacts",
            "arrivals": {"process": "poisson", "rate": f"{rate}/s"},
            "count": round(rate * len(nodes) * (BEGIN + LASTS + 3)),
        },
        "timeline": [{"at": f"{BEGIN}s", "partition": [list(side) for side in SIDES], "for": f"{LASTS}s"}]
        if parted
        else [],
    }


@dataclass(frozen=True)
class Played:
    """A run, read from its directory."""

    path: Path

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """The run's events in order of time."""
        return [json.loads(line) for line in (self.path / "events.jsonl").read_text().splitlines()]

    def answered(self, nodes: Sequence[str]) -> float:
        """Answers per second of ``nodes`` in the time of the partition, whether there is one or not."""
        times: list[float] = [e["t"] for e in self.events if e["event"] == "answer" and e["node"] in nodes]
        return sum(BEGIN <= t < BEGIN + LASTS for t in times) / LASTS

    @property
    def unended(self) -> set[str]:
        """The prompts that were neither answered nor failed."""
        begun, ended = (
            {event["prompt"] for event in self.events if event["event"] in kinds}
            for kinds in (("prompt",), ("answer", "failed", "lost"))
        )
        return begun - ended

    @property
    def longest_asking(self) -> float:
        """The longest wait for a neighbour's response, in seconds."""
        sent: dict[tuple[str, str], float] = {}
        ended: dict[tuple[str, str], float] = {}
        for event in self.events:
            if event["event"] == "send" and event["message"].endswith("/request"):
                sent[event["message"], event["node"]] = event["t"]
            elif event["event"] == "ask_failed":
                ended[event["message"], event["node"]] = event["t"]
        return max((t - sent[message] for message, t in ended.items() if message in sent), default=0.0)

    @property
    def reunited(self) -> float:
        """Seconds from the end of the partition until the last neighbour was back."""
        back: list[float] = [event["t"] for event in self.events if event["event"] == "neighbour_back"]
        healed: float = next(event["t"] for event in self.events if event["event"] == "fault_end")
        return max(back) - healed


def main() -> None:
    """Play, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of the runs, and of partition.json")
    parser.add_argument("--rate", type=float, default=5.0, help="prompts per second and node")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    together = Played(played(scenario([*SIDES[0], *SIDES[1]], asked.rate, asked.seed, parted=True), asked.out))
    alone = [Played(played(scenario(side, asked.rate, asked.seed, parted=False), asked.out)) for side in SIDES]
    sides = {
        "".join(side): {"parted": together.answered(side), "alone": one.answered(side)}
        for side, one in zip(SIDES, alone, strict=True)
    }
    table = Table("side", "answers/s, parted", "answers/s, alone", "ratio", title="Four nodes in two pairs")
    for name, rates in sides.items():
        table.add_row(name, *(f"{rate:.2f}" for rate in rates.values()), f"{rates['parted'] / rates['alone']:.2f}")
    Console().print(table)
    print(f"prompts that did not end: {len(together.unended)}")
    print(f"longest wait for a neighbour: {together.longest_asking:.2f} s, of at most {TIMEOUT:g} s")
    print(f"all neighbours back after: {together.reunited:.2f} s, of at most {2 * PERIOD:g} s")
    stored = {
        "sides": sides,
        "unended": sorted(together.unended),
        "longest_asking": together.longest_asking,
        "reunited": together.reunited,
    }
    (asked.out / "partition.json").write_text(json.dumps(stored, indent=2) + "\n")


if __name__ == "__main__":
    main()
