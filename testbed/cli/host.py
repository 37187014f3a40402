"""The verbs about this host and the runs on it."""

import json
from contextlib import nullcontext
from typing import Annotated, Literal

import typer

from testbed.cli.console import err, out
from testbed.cli.options import AsJson
from testbed.core.errors import SpecError

app = typer.Typer()


Property = Annotated[str | None, typer.Option(metavar="VALUE", rich_help_panel="Properties, as in a topology file")]


@app.command(epilog="Example: `testbed link 3fa9c1 a-s1 --delay 80ms --way up`; without a property it lists the links")
def link(
    run: Annotated[str, typer.Argument(help="The id of a run that goes on or was kept.")],
    name: Annotated[str | None, typer.Argument(help="The link, like a-s1.")] = None,
    way: Annotated[Literal["up", "down", "both"], typer.Option(help="The direction to change.")] = "both",
    state: Annotated[
        Literal["up", "down"] | None, typer.Option(help="down: every frame is lost until the link is up again.")
    ] = None,
    preset: Property = None,
    bandwidth: Property = None,
    delay: Property = None,
    jitter: Property = None,
    loss: Property = None,
    duplicate: Property = None,
    reorder: Property = None,
    corrupt: Property = None,
    queue: Property = None,
    trace: Property = None,
) -> None:
    """Change a link of a run while it carries frames. Frames in its queue or in flight are kept."""
    from testbed.host.machine import require_root
    from testbed.schema.network.link import DIRECTIONS
    from testbed.schema.network.shape import read_shape
    from testbed.show.topologies.text import print_links
    from testbed.world.world import running_links

    require_root()
    links = running_links(run)
    given = {"preset": preset, "bandwidth": bandwidth, "delay": delay, "jitter": jitter, "loss": loss, "trace": trace}
    given |= {"duplicate": duplicate, "reorder": reorder, "corrupt": corrupt, "queue": queue}
    shape = read_shape({key: value for key, value in given.items() if value is not None})
    cut = {} if state is None else {"cut": state == "down"}
    said = {one: cut | shape.said_of(one) for one in DIRECTIONS if way in (one, "both")}
    if any(said.values()):
        if name is None:
            raise SpecError.of("link", "name the link to change, like a-s1")
        links.change(name, said)
    print_links([wiring.link for wiring in (links.current() if name is None else [links.find(name)])], out)


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


@app.command(epilog="Example: `testbed clean`, or `testbed clean 3fa9c1` for a run that was kept")
def clean(runs: Annotated[list[str] | None, typer.Argument(help="Kept runs to remove as well.")] = None) -> None:
    """Remove what dead runs left behind, and nothing else."""
    from testbed.host.machine import require_root
    from testbed.world.journal import undo_dead_runs

    require_root()
    for line in undo_dead_runs(runs or []):
        out.print(line, markup=False, soft_wrap=True)


@app.command(epilog="Example: `testbed shell a`")
def shell(
    node: Annotated[str, typer.Argument(help="The node.")],
    in_run: Annotated[str | None, typer.Option("--run", help="The run, if several are kept.")] = None,
) -> None:
    """Open a shell in a node of a run that was started with --keep."""
    from testbed.host.machine import require_root
    from testbed.world.shell import open_shell

    require_root()
    raise typer.Exit(open_shell(node, in_run))


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
