"""Whether devices are as fast as was published: sudo .venv/bin/python benchmarks/devices.py --out DIR

A node stands for each device, and has a model of the shape and about the size of that which the device was measured
with. It writes an answer, as slowly as it takes for any host (`dilation: auto`); how fast stands in the run's summary.
Each is played three times, in turns, since no host is as fast all the time.
"""

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rundirs import played, summary

MODEL: Final = "synthetic:llama-3.2-3b-q4_0"
DEVICES: Final = ("raspberry-pi-4", "raspberry-pi-5", "nuc")
ROUNDS: Final = 3


def scenario(device: str, number: int) -> dict[str, Any]:
    """One prompt for one node."""
    return {
        "name": f"{device}-{number}",
        "topology": {"name": "one", "nodes": {"a": {"device": device, "model": MODEL}}},
        "dilation": "auto",
        "pattern": {"kind": "gossip-moa", "layers": 0, "proposers": 0},
        "sampling": {"max_tokens": 32},
        "workload": {"prompts": "worldfacts", "arrivals": {"rate": "1/s"}, "count": 1},
    }


def seen(device: str, number: int, out: Path) -> dict[str, Any]:
    """What the device was asked to be, and how fast it wrote."""
    found = summary(played(scenario(device, number), out))
    node = found["nodes"]["a"]
    return {**node["device"], "dilation": found["dilation"], "writing_rate": node["writing_rate"]}


def main() -> None:
    """Play, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of the runs, and of devices.json")
    asked = parser.parse_args()
    results = [seen(device, number, asked.out) for number, device in product(range(ROUNDS), DEVICES)]
    table = Table("device", "a core here", "dilation", "cores", "published", "seen", "of it", title="Tokens per second")
    for one in results:
        numbers = (one["host"], one["dilation"], one["cpus"], one["asked"], one["writing_rate"])
        table.add_row(
            one["profile"], *(f"{number:.3g}" for number in numbers), f"{one['writing_rate'] / one['asked']:.1%}"
        )
    Console().print(table)
    (asked.out / "devices.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
