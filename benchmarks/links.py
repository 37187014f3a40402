"""Measures links with public tools: against what was asked, and against Mininet's TCLink where the kernel has netem.

    sudo .venv/bin/python benchmarks/links.py --quick
    sudo .venv/bin/python benchmarks/links.py --backends userspace kernel tclink --out benchmarks/results/links.jsonl

It measures each cell with every backend in turn and writes each result at once. With an existing file it continues.
docs/benchmarks.md describes the method.
"""

import argparse
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import command
from link_table.cases import cases_of, run_case
from link_table.grid import QUICK, TABLE, Cell
from link_table.measure import measure
from link_table.pairs import CONTENDERS, OWN
from link_table.results import HostNote, Result, Store
from link_table.table import report
from link_table.tools import missing_packages
from rich.console import Console
from rich.progress import track

from testbed.core.errors import HostError, SpecError

_RESULTS = Path(__file__).parent / "results" / "links.jsonl"

Step = Callable[[], Sequence[Result]]
"""A measurement, which returns its results."""


def main() -> None:
    """Measure what the file lacks, then print the table and write it beside the file."""
    arguments = _arguments()
    _check_host(arguments.out)
    contenders = _contenders(arguments.backends)
    if arguments.fresh:
        arguments.out.unlink(missing_ok=True)
    store = Store(arguments.out)
    steps = list(_steps(store, contenders, arguments.quick))
    if steps:
        store.add(_host_note())
    for step in track(steps, "measuring links", console=Console(stderr=True)):
        store.add(*step())
    text = report(store)
    arguments.out.with_suffix(".md").write_text(text)
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hold links against what is asked of them.")
    names = f"of {', '.join(CONTENDERS)}; by default all that this host can have"
    parser.add_argument("--backends", nargs="+", metavar="NAME", help=names)
    parser.add_argument("--quick", action="store_true", help="one cell in ten, and the cases that take seconds")
    parser.add_argument("--fresh", action="store_true", help="forget what is in the file")
    parser.add_argument(
        "--out", type=Path, default=_RESULTS, metavar="FILE", help="where results are kept, as JSON lines"
    )
    return parser.parse_args()


def _check_host(out: Path) -> None:
    """Raises TestbedError if this host lacks something."""
    if os.geteuid() != 0:
        raise HostError("namespaces and links need root; say: sudo .venv/bin/python benchmarks/links.py")
    if missing := missing_packages():
        raise HostError(f"the tools that measure are missing; say: apt-get install {' '.join(missing)}")
    if not out.absolute().parent.is_dir():
        raise SpecError.of("--out", f"{out} cannot be written; name a file in an existing directory")


def _contenders(names: Sequence[str] | None) -> list[str]:
    """The contenders named, by default all that this host supports; raises TestbedError if one is not supported."""
    if names is None:
        return [name for name, contender in CONTENDERS.items() if contender.missing() is None]
    for name in names:
        if name not in CONTENDERS:
            raise SpecError.of("--backends", f"{name!r} is no backend; known are {', '.join(CONTENDERS)}")
        if (reason := CONTENDERS[name].missing()) is not None:
            raise HostError(f"{name}: {reason}; tests/netem/run runs a command where there is netem")
    return list(names)


def _steps(store: Store, contenders: Sequence[str], quick: bool) -> Iterator[Step]:
    """The missing measurements: for each cell all contenders in turn, then the cases."""
    done = {(result.contender, result.case) for result in store.cases}
    for cell in QUICK if quick else TABLE:
        for name in contenders:
            if (name, cell) not in store.cells:
                yield partial(_measure, name, cell)
    for name in contenders:
        if name in OWN:
            for case in cases_of(name, quick):
                if (name, case) not in done:
                    yield partial(run_case, OWN[name], case)


def _measure(name: str, cell: Cell) -> list[Result]:
    return [measure(CONTENDERS[name], cell)]


def _host_note() -> HostNote:
    return HostNote(
        kernel=platform.release(),
        cpus=os.cpu_count() or 1,
        begin=datetime.now(UTC).isoformat(timespec="minutes"),
        commit=command.commit(),
    )


if __name__ == "__main__":
    command.run(main)
