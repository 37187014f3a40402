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
LinkBackend = Annotated[
    str | None, typer.Option(help="Link backend: kernel or userspace. Without it the host is probed.")
]
