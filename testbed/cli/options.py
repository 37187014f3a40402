"""Arguments and options of several verbs."""

from pathlib import Path
from typing import Annotated

import typer

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
