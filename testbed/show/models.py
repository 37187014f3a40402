"""Models for the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from testbed.core.units import readable
from testbed.models.listing import Listed
from testbed.models.split import StageFiles, written


def print_models(models: Iterable[Listed], console: Console) -> None:
    """Print a line for each model."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("model", "size", "licence", "chat", "state"):
        table.add_column(name, overflow="fold" if name == "model" else "ellipsis", no_wrap=name != "model")
    for model in models:
        table.add_row(model.reference, readable(model.size, "B"), model.licence, model.chat, model.state)
    console.print(table)


def print_details(known: Mapping[str, Any], console: Console) -> None:
    """Print a line for each thing that is known of a model."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in known.items():
        lines = value if isinstance(value, list | tuple) else [value]
        table.add_row(Text(name, "dim"), Text("\n".join(map(str, lines)), overflow="fold"))
    console.print(table)


def print_split(split: StageFiles, console: Console) -> None:
    """Print a line for each file, the front's first, and their folder."""
    table = Table("stage", "layers", "size", "file", box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_row("front", "", readable(split.front.stat().st_size, "B"), split.front.name)
    for number, stage in enumerate(split.stages):
        table.add_row(str(number), written(stage.layers), readable(stage.size, "B"), stage.path.name)
    console.print(table)
    console.print(Text(str(split.front.parent), "dim"), soft_wrap=True)
