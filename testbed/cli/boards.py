"""The verbs about boards."""

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.console import err, out

app = typer.Typer(rich_markup_mode="markdown", no_args_is_help=True)


@app.callback()
def board() -> None:
    """Prepare boards that are to be nodes."""


@app.command("prepare", epilog="Example: `sudo testbed board prepare pi@169.254.7.2`")
def prepare(
    target: Annotated[str, typer.Argument(metavar="USER@ADDRESS", help="Where ssh reaches it.", show_default=False)],
    ssh_config: Annotated[Path | None, typer.Option(help="File of options for ssh in place of the user's own.")] = None,
) -> None:
    """Install on a board what a node needs, and say what is missing there."""
    from testbed.world.hardware.control import Control
    from testbed.world.hardware.preparation import Preparation

    Preparation(Control(target, ssh_config), err.print).prepare()
    out.print(f"the board {target} is ready", markup=False)
