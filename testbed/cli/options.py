"""Arguments and options of several verbs."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer


def recorded(written: str) -> Path:
    """The directory that is meant by its path, or by the id of a run; raises SpecError."""
    from testbed.analysis.recorded import find_run

    return find_run(written)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Scenarios = Annotated[list[Path], typer.Argument(help="Scenario files.", show_default=False)]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the scenario, like pattern.layers=2."),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="tcp://…|tls://…", help="Address of a Dask scheduler on whose hosts to play the runs."
    ),
]
LinkBackend = Annotated[
    str | None, typer.Option(help="Link backend: kernel or userspace. Without it the host is probed.")
]

run_argument = partial(typer.Argument, parser=recorded, show_default=False)
"""The argument that names a run that is over."""

RecordedRuns = Annotated[
    list[Path],
    run_argument(metavar="RUN…", help="Runs in ./runs by their ids, run directories, or directories that hold some."),
]
RecordedRun = Annotated[
    Path,
    run_argument(metavar="RUN", help="A run in ./runs by its id, a run directory, or a directory that holds some."),
]
