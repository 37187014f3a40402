"""The verbs about this host."""

import json
from contextlib import nullcontext
from typing import Annotated

import typer

from testbed.cli.console import err, out
from testbed.cli.options import AsJson

app = typer.Typer()


@app.command(epilog="Example: `testbed doctor`")
def doctor(as_json: AsJson = False) -> None:
    """Check everything that the testbed relies on. For each problem the command that mends it is printed."""
    from testbed.host.doctor import examine
    from testbed.show.terminal import print_findings
    from testbed.world.network.links.backend import backends

    findings = examine({backend.name: backend.missing for backend in backends()})
    if as_json:
        out.print_json(json.dumps([finding.as_dict() for finding in findings]))
    else:
        print_findings(findings, out)
    raise typer.Exit(3 if any(finding.problem for finding in findings) else 0)


@app.command(epilog="Example: `testbed image --base python:3.12-slim`")
def image(
    base: Annotated[
        str | None, typer.Option(help="Image to build on from now on; `local` for the base made here.")
    ] = None,
) -> None:
    """Build what is missing of the node image, and print its tag."""
    from testbed.host.image import ensure_image
    from testbed.host.machine import connect_docker, require_root

    require_root()
    with err.status("node image") if err.is_terminal else nullcontext():
        tag = ensure_image(connect_docker(), err.print, base)
    out.print(tag)
