"""The verbs about files: scenarios, topologies, devices."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.console import out
from testbed.cli.options import AsJson, Assignments, Scenarios
from testbed.core.errors import HostError, SpecError

if TYPE_CHECKING:
    from testbed.world.hosts.placement import Placement

app = typer.Typer()


@app.command(epilog="Example: `testbed init my-experiment`")
def init(
    directory: Annotated[Path, typer.Argument(help="Where to write; made if it is missing.")] = Path(),
) -> None:
    """Write a commented scenario and its topology to start from."""
    from testbed.schema.starter import write_starter

    for path in write_starter(directory):
        out.print(str(path), markup=False, soft_wrap=True)


@app.command(epilog="Example: `testbed validate scenarios/*.yaml`")
def validate(
    scenarios: Scenarios,
    assignments: Assignments = None,
    hosts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Hosts to place the nodes on, instead of this one.")
    ] = None,
) -> None:
    """Check scenario files and their topologies. Every mistake is printed with its line.

    Exit code 3: the files are valid, and ask for more CPU or memory than this host has, or than the hosts of --hosts.
    """
    from testbed.host.capacity import check_capacity
    from testbed.models.resolution import missing
    from testbed.run.checked import load_checked
    from testbed.schema.hosts import load_hosts
    from testbed.world.hosts.placement import place

    problems, too_large = [], []
    for path in scenarios:
        try:
            scenario = load_checked(path, assignments or [])
            out.print(f"{path}: valid", markup=False, soft_wrap=True)
            for model in missing(scenario.model_references):
                out.print(f"  {model}", markup=False, soft_wrap=True)
            if hosts is None:
                check_capacity(scenario)
            else:
                _print_placement(place(scenario, load_hosts(hosts, scenario.topology)))
        except SpecError as error:
            problems += error.problems
        except HostError as error:
            too_large.append(f"{path}: {error}")
    if problems:
        raise SpecError(problems)
    if too_large:
        raise HostError("\n".join(too_large))


def _print_placement(placement: "Placement") -> None:
    from testbed.core.units import SIZE

    for host, demand in placement.demands.items():
        names = ", ".join(placement.on(host)) or "nothing"
        asked = f"{demand.cpus:.4g} CPUs, {SIZE.readable(demand.memory)}"
        out.print(f"  {host}: {names} ({asked})", markup=False, soft_wrap=True)
    crossing = ", ".join(link.name for link in placement.crossing) or "none"
    out.print(f"  links between hosts: {crossing}", markup=False, soft_wrap=True)


@app.command(epilog="Example: `testbed topology geometric:nodes=20,radius=0.3,seed=7 --yaml my.yaml`")
def topology(
    source: Annotated[
        str,
        typer.Argument(help="A topology file, a GraphML, GML or JSON graph, or a recipe like geometric:nodes=20."),
    ],
    svg: Annotated[Path | None, typer.Option(help="Draw the topology into this file.")] = None,
    yaml: Annotated[Path | None, typer.Option(help="Write the topology as a topology file.")] = None,
    node: Annotated[
        str, typer.Option(help="Keys of each imported or generated node, like model=zoo/alpha,cpus=0.2.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Draw a topology with each link's numbers; import a graph, or generate one."""
    from testbed.show.topologies.svg import draw
    from testbed.show.topologies.text import print_topology
    from testbed.topologies import source as sources

    shown = sources.load(source, node, yaml)
    if svg is not None:
        sources.write("--svg", svg, draw(shown))
    if as_json:
        out.print_json(json.dumps(sources.as_dict(shown)))
    else:
        print_topology(shown, out)


@app.command(epilog="Example: `testbed kinds`")
def kinds(as_json: AsJson = False) -> None:
    """List everything that a scenario can name: patterns, faults, scorers, … of every installed package."""
    from testbed.run.kinds import known_kinds
    from testbed.show.tables import print_kinds

    known = known_kinds()
    if as_json:
        out.print_json(json.dumps([kind.as_dict() for kind in known]))
    else:
        print_kinds([(kind.noun, kind.name, kind.problem or kind.summary, kind.origin) for kind in known], out)


@app.command(epilog="Example: `testbed devices`, or `testbed devices my-devices.yaml`")
def devices(
    own: Annotated[Path | None, typer.Argument(help="A file with further profiles, as a topology names it.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the device profiles that nodes can have, with the source of each number."""
    from testbed.schema.network.device import profiles
    from testbed.show.terminal import print_profiles

    known = profiles(own)
    if as_json:
        out.print_json(json.dumps({name: profile.model_dump() for name, profile in known.items()}))
    else:
        print_profiles(known, out)


@app.command(epilog="Example: `testbed schema > scenario.schema.json`")
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from testbed.schema.scenario import json_schema

    print(json.dumps(json_schema(), indent=2))
