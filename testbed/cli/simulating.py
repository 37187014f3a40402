"""The verb that simulates scenarios."""

import json
from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.console import out
from testbed.cli.options import AsJson, Assignments, recorded

app = typer.Typer()


@app.command(epilog="Example: `testbed simulate scenarios/gossip_moa.yaml --from runs/good --set rate=1/s`")
def simulate(
    scenario: Annotated[Path, typer.Argument(help="Scenario file.", show_default=False)],
    runs: Annotated[
        list[Path],
        typer.Option(
            "--from",
            parser=recorded,
            metavar="RUN",
            help="A valid run that calibrates it, or a directory of some; repeatable.",
        ),
    ],
    topology: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Generated topology in place of the scenario's, like scale-free:nodes=1000. "
            "Its nodes are copies of the scenario's, in turn.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed instead of the scenario's.")] = None,
    directory: Annotated[Path | None, typer.Option("--out", help="Run directory; new or empty.")] = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Simulate a scenario in virtual time, with what real runs measured. No container is started.

    Exit code 0: all expectations held; 1: one did not; 2: something is not simulated, or out of the calibrated domain.
    """
    from testbed.run.checked import load_checked
    from testbed.run.simulating import on_topology, simulated_run
    from testbed.show.terminal import print_summary
    from testbed.simulation.calibration import Calibration

    chosen = [*(assignments or []), *([] if seed is None else [f"seed={seed}"])]
    loaded = load_checked(scenario, chosen)
    if topology is not None:
        loaded = on_topology(loaded, topology)
    summary = simulated_run(loaded, Calibration.of(runs), directory)
    if as_json:
        out.print_json(json.dumps({**summary.as_dict(), "directory": str(summary.directory)}))
    else:
        print_summary(summary, out)
    raise typer.Exit(summary.exit_code)
