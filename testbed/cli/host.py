"""The verbs about this host."""

import json
from contextlib import nullcontext
from typing import Annotated, Literal

import typer

from testbed.cli.console import err, out
from testbed.cli.options import AsJson
from testbed.core.errors import SpecError

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


@app.command(epilog="Example: `sudo testbed hardware`")
def hardware(as_json: AsJson = False) -> None:
    """List interfaces, boards, power sensors and GPUs of this host, and what each could be used for."""
    from testbed.host.hardware import parts
    from testbed.show.terminal import print_hardware

    found = parts()
    if as_json:
        out.print_json(json.dumps([part.as_dict() for part in found]))
    else:
        print_hardware(found, out)


@app.command(epilog="Example: `testbed image --base python:3.12-slim`, or `testbed image llama-rpc`")
def image(
    name: Annotated[
        Literal["node", "llama-rpc"], typer.Argument(help="The nodes' own, or llama.cpp's server and RPC backend.")
    ] = "node",
    base: Annotated[
        str | None, typer.Option(help="Image to build on from now on; `local` for the base made here.")
    ] = None,
) -> None:
    """Build what is missing of an image, and print its tag."""
    from testbed.host.image import ensure_image, ensure_llama_rpc
    from testbed.host.machine import connect_docker, require_root

    require_root()
    if name != "node" and base is not None:
        raise SpecError.of("--base", "goes with the nodes' own image; leave it out")
    with err.status(f"{name} image") if err.is_terminal else nullcontext():
        client = connect_docker()
        tag = ensure_image(client, err.print, base) if name == "node" else ensure_llama_rpc(client, err.print)
    out.print(tag)
