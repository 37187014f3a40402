"""The command line: its verbs, a few lines each. Every one is a call into the modules that do the work."""

import os
import resource
import signal
import sys
import tempfile
import traceback

import typer

from testbed.cli import files, host, playing, results
from testbed.cli.console import err
from testbed.core.errors import TestbedError

app = typer.Typer(
    name="testbed",
    help="A hardware-in-the-loop testbed for language models at the network edge.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for verbs in (playing, results, files, host):
    app.add_typer(verbs.app)


def main() -> None:
    """Run the command line; every failure that is not a bug ends in one sentence and an exit code."""
    # SIGTERM is passed on as SIGINT, which asyncio turns into a cancellation instead of an exception anywhere.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the relay has two files open for every link
    os.umask(0o022)  # the nodes' user must be able to read what is written for it
    try:
        app()
    except TestbedError as error:
        err.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except Exception as error:
        with tempfile.NamedTemporaryFile("w", prefix="testbed-", suffix=".log", delete=False) as file:
            traceback.print_exc(file=file)
        err.print(f"this is a bug in the testbed: {error!r}; please report {file.name}", style="red", markup=False)
        sys.exit(os.EX_SOFTWARE)
