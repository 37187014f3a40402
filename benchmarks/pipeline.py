"""Compares rings with their steady-state law, with each other, and with llama.cpp's RPC backend.

    sudo .venv/bin/python benchmarks/pipeline.py
    sudo .venv/bin/python benchmarks/pipeline.py --part law schedules --out FILE.json

It takes about 15 minutes. The first run builds llama.cpp with that backend, in about 10 minutes more. Results of a part
replace those in the file. docs/benchmarks.md describes the method.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import command
from pipeline_table import hops, kills, law, memory, rpc, schedules
from pipeline_table.results import HostNote, Results
from pipeline_table.table import report
from rich.console import Console

from testbed.host.machine import require_root

PARTS: Final[dict[str, Callable[[bool], Iterable[Any]]]] = {
    "law": law.measure,
    "schedules": schedules.measure,
    "rpc": rpc.measure,
    "memory": memory.measure,
    "hops": hops.measure,
    "kills": kills.measure,
}

_RESULTS: Final = Path(__file__).parent / "results" / "pipeline.json"


def main() -> None:
    """Measure the parts, then print the table and write it beside the file."""
    asked = _arguments()
    require_root()
    results = Results.load(asked.out)
    for part in asked.part:
        results = _measured(part, results, asked.quick)
        results.write(asked.out)
    text = report(results)
    asked.out.with_suffix(".md").write_text(text)
    print(text)


def _measured(part: str, results: Results, quick: bool) -> Results:
    """``results`` with new ones of ``part``."""
    begin, found, console = time.monotonic(), [], Console(stderr=True)
    with console.status(part):
        for result in PARTS[part](quick):
            console.print(result)
            found.append(result)
    note = HostNote.now(time.monotonic() - begin)
    return results.model_copy(update={part: found, "hosts": {**results.hosts, part: note}})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure; all by default")
    parser.add_argument("--quick", action="store_true", help="half as much of everything, to see that it works")
    parser.add_argument("--out", type=Path, default=_RESULTS, metavar="FILE", help="where results are kept, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
