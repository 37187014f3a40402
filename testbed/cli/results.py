"""The verbs that read run directories."""

import json
from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.console import out
from testbed.cli.options import AsJson, RecordedRun, RecordedRuns, recorded
from testbed.core.errors import SpecError

app = typer.Typer()


@app.command(epilog="Example: `testbed inspect 3fa9c1`")
def inspect(
    run: RecordedRun,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print every number, also those that are 0.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the verdict and the numbers of a run that is over; with --json, its directory and its summary.json."""
    from testbed.analysis.recorded import RunFiles, run_directories, whole_run
    from testbed.show.terminal import print_recorded

    for directory in run_directories(run):
        with whole_run(directory):
            files = RunFiles.load(directory)
            if as_json:
                out.print_json(json.dumps({"directory": str(directory), **files.summary}))
            else:
                print_recorded(files, out, verbose)


@app.command(epilog="Example: `testbed compare runs/main runs/mine`, each a directory of `run --repeat 5 --out DIR`")
def compare(
    base: RecordedRun,
    new: RecordedRuns,
    more: Annotated[
        list[Path] | None, typer.Option("--base", parser=recorded, metavar="RUN", help="Another beside BASE.")
    ] = None,
    margin: Annotated[
        str, typer.Option(help="Share of the base's value by which a metric must change to count.")
    ] = "5%",
    as_json: AsJson = False,
) -> None:
    """Compare two sets of runs. Exit code 0: nothing is worse; 1: something is."""
    from testbed.analysis.comparison.changes import compare_scenarios
    from testbed.analysis.recorded import load_runs
    from testbed.core.units import SHARE
    from testbed.show.tables import print_comparison

    try:
        least = SHARE.parse(margin)
    except ValueError as error:
        raise SpecError.of("--margin", str(error)) from None
    comparisons = compare_scenarios(load_runs([base, *(more or [])]), load_runs(new), least)
    if as_json:
        out.print_json(json.dumps([comparison.as_dict() for comparison in comparisons]))
    else:
        for comparison in comparisons:
            print_comparison(comparison, out)
    raise typer.Exit(1 if any(comparison.regressions for comparison in comparisons) else 0)


@app.command(epilog="Example: `testbed report runs/mine`, or `testbed report runs/main runs/mine` to compare")
def report(
    runs: RecordedRuns,
    page: Annotated[Path | None, typer.Option("--out", help="File of the comparison of several runs.")] = None,
) -> None:
    """Write the page and the trace of a run again, or one page that compares several runs with the first."""
    from testbed.analysis.recorded import run_directories
    from testbed.show.report import REPORT, write_comparison, write_report

    base, *new = runs
    if new:
        page = page or Path("comparison.html")
        write_comparison(base, new, page)
        out.print(str(page), markup=False, soft_wrap=True)
        return
    if page is not None:
        raise SpecError.of("--out", "is for comparisons; the page of one run is in its directory")
    for directory in run_directories(base):
        write_report(directory)
        out.print(str(directory / REPORT), markup=False, soft_wrap=True)
