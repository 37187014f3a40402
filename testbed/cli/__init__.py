"""The command line. A verb has a few lines and calls the modules that do the work, which it imports when it is run."""

import os
import signal
import stat
import sys
import tempfile
import traceback
from importlib.metadata import version
from typing import Annotated

import typer

from testbed.cli import boards, files, host, models, playing, results, routers, simulating, standing
from testbed.cli.console import err, out
from testbed.core.errors import TestbedError
from testbed.core.extra import host_extra
from testbed.host.process import fit_for_worlds

app = typer.Typer(
    name="testbed",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for verbs in (playing, simulating, standing, results, files, host):
    app.add_typer(verbs.app)
app.add_typer(boards.app, name="board")
app.add_typer(models.app, name="models")
app.add_typer(routers.app, name="router")


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"testbed {version('testbed')}")
        raise typer.Exit


@app.callback()
def testbed(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A hardware-in-the-loop testbed for language models at the network edge."""


def _hang_up(*_: object) -> None:
    """End like Ctrl-C. The terminal is gone, and printing to it would fail, so what follows is printed nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (sys.__stdout__, sys.__stderr__):
        if output is not None and stat.S_ISCHR(os.fstat(output.fileno()).st_mode):
            os.dup2(nowhere, output.fileno())
    os.close(nowhere)
    signal.raise_signal(signal.SIGINT)


def main() -> None:
    """Run the command line. A failure that is not a bug prints one sentence and has an exit status of its own."""
    # SIGTERM becomes SIGINT: asyncio turns that into a cancellation, and any other handler would raise anywhere.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _hang_up)
    try:
        with fit_for_worlds(), host_extra():
            app()
    except TestbedError as error:
        err.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except Exception as error:
        with tempfile.NamedTemporaryFile("w", prefix="testbed-", suffix=".log", delete=False) as file:
            traceback.print_exc(file=file)
        err.print(f"this is a bug in the testbed: {error!r}; please report {file.name}", style="red", markup=False)
        sys.exit(os.EX_SOFTWARE)
