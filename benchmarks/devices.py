"""Compares emulated devices with their published speed: sudo .venv/bin/python benchmarks/devices.py --out DIR

Each device is emulated by a node with a model of the dimensions, and about the size, of the one in the published
measurement. The node writes one answer with `dilation: auto`, so that any host is fast enough. The run's summary has
its speed. Each device is played three times, alternating with the others, because the speed of a host varies.
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
    """A scenario with one prompt at one node."""
    return {
        "name": f"{device}-{number}",
        "topology": {"name": "one", "nodes": {"a": {"device": device, "model": MODEL}}},
        "dilation": "auto",
        "pattern": {"kind": "gossip-moa", "layers": 0, "proposers": 0},
        "sampling": {"max_tokens": 32},
        "workload": {"prompts": "worldfacts", "arrivals": {"rate": "1/s"}, "count": 1},
    }


def seen(device: str, number: int, out: Path) -> dict[str, Any]:
    """The device's published speed and the measured one, in tokens per second."""
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
