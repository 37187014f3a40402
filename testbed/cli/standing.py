"""The verbs about runs that play, or that were kept."""

import json
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Annotated, Literal

import typer

from testbed.cli.console import out
from testbed.cli.options import AsJson
from testbed.core.errors import SpecError

app = typer.Typer()

Run = Annotated[
    str | None, typer.Option("--run", help="The run, if several stand: its id or directory.", show_default=False)
]
Node = Annotated[str, typer.Argument(help="The node.", show_default=False)]
Property = Annotated[str | None, typer.Option(metavar="VALUE", rich_help_panel="Properties, as in a topology file")]


@app.command(epilog="Example: `testbed ps`")
def ps(as_json: AsJson = False) -> None:
    """List the runs that play, were kept, or died and left something behind."""
    from testbed.show.tables import print_standing
    from testbed.world.standing import standing_runs

    runs = standing_runs()
    if as_json:
        out.print_json(json.dumps([run.as_dict() for run in runs]))
    else:
        print_standing([run.row for run in runs], out)


@app.command(epilog="Example: `testbed shell a`")
def shell(node: Node, run: Run = None) -> None:
    """Open a shell in a node of a run that was started with --keep."""
    _execute(node, run, ["sh"])


@app.command("exec", epilog="Example: `testbed exec a -- cat /proc/meminfo`")
def execute(
    node: Node,
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.", show_default=False)],
    run: Run = None,
) -> None:
    """Execute a command in a node. The exit code is the command's."""
    _execute(node, run, command)


@app.command(epilog="Example: `testbed logs a --follow`")
def logs(
    node: Node,
    run: Run = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the node ends.")] = False,
) -> None:
    """Print what a node's agent has printed. Of a run that is over, it lies in the run directory, in `logs/`."""
    from testbed.host.machine import require_root
    from testbed.world.commands import print_log
    from testbed.world.standing import find_standing

    require_root()
    raise typer.Exit(print_log(find_standing(run).container(node), follow))


@app.command(epilog="Example: `testbed link 3fa9c1 a-s1 --delay 80ms --way up`; without a property it lists the links")
def link(
    run: Annotated[str, typer.Argument(help="A run that plays or was kept: its id or directory.")],
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
    from testbed.world.standing import find_standing
    from testbed.world.world import running_links

    require_root()
    links = running_links(find_standing(run).run)
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


@app.command(epilog="Example: `testbed capture 3fa9c1 a-s1`, and Ctrl-C to end it")
def capture(
    run: Annotated[str, typer.Argument(help="A run that plays or was kept: its id or directory.")],
    name: Annotated[str, typer.Argument(metavar="LINK", help="The link, like a-s1.")],
    path: Annotated[Path | None, typer.Option("--out", help="The file; LINK.pcapng if left out.")] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="Seconds after which it ends.")] = None,
    limit: Annotated[str, typer.Option(help="Most bytes of the file; frames that come later are counted.")] = "64MiB",
) -> None:
    """Record the frames of a link, both directions, as pcapng until Ctrl-C."""
    from testbed.core.units import SIZE
    from testbed.host.machine import require_root
    from testbed.world.network.capture import Capture
    from testbed.world.standing import find_standing
    from testbed.world.world import running_links

    require_root()
    link, file = running_links(find_standing(run).run).find(name), path or Path(f"{name}.pcapng")
    try:
        size = int(SIZE.parse(limit))
    except ValueError as error:
        raise SpecError.of("--limit", str(error)) from None
    try:
        with suppress(KeyboardInterrupt), Capture(link, file, size) as capturing:
            Event().wait(seconds)
    except OSError as error:
        raise SpecError.of("--out", f"{file} cannot be written: {error.strerror}") from None
    out.print(f"{file}: {capturing.frames} frames, {capturing.missed} missed", markup=False, soft_wrap=True)


@app.command(epilog="Example: `testbed clean`, or `testbed clean 3fa9c1` for a run that was kept")
def clean(
    runs: Annotated[list[str] | None, typer.Argument(help="Kept runs to remove as well: id or directory.")] = None,
) -> None:
    """Remove what dead runs left behind, and nothing else."""
    from testbed.host.machine import require_root
    from testbed.world.journal import undo_dead_runs
    from testbed.world.standing import find_standing

    require_root()
    for line in undo_dead_runs([find_standing(run).run for run in runs or []]):
        out.print(line, markup=False, soft_wrap=True)


def _execute(node: str, run: str | None, command: list[str]) -> None:
    from testbed.host.machine import require_root
    from testbed.world.commands import execute_in
    from testbed.world.standing import find_standing

    require_root()
    raise typer.Exit(execute_in(find_standing(run).container(node), command))
