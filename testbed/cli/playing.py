"""The verbs that run scenarios."""

import json
import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.analysis.verdict.fidelity import Mode
from testbed.cli.console import err, out
from testbed.cli.models import tell_missing
from testbed.cli.options import AsJson, Assignments, LinkBackend, On, Scenarios
from testbed.cli.players import chosen_players
from testbed.core.errors import SpecError

if TYPE_CHECKING:
    from testbed.analysis.summary import Summary

app = typer.Typer()


@app.command(epilog="Example: `testbed run scenarios/gossip_moa.yaml --seed 3 --set pattern.layers=0`")
def run(
    scenarios: Scenarios,
    directory: Annotated[Path | None, typer.Option("--out", help="Run directory; new or empty.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed instead of the scenario's.")] = None,
    assignments: Assignments = None,
    on: On = None,
    links: LinkBackend = None,
    fidelity: Annotated[
        Mode, typer.Option(help="How thoroughly to measure the links, before play and after.")
    ] = "quick",
    repeat: Annotated[
        int, typer.Option(min=1, help="Runs of each scenario: with its seed and the seeds after it.")
    ] = 1,
    baseline: Annotated[
        Path | None, typer.Option(help="A run directory, or a directory that holds some. A run that is worse fails.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Also write all results to this file, as JUnit XML.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave nodes and network standing.")] = False,
    alone: Annotated[
        bool, typer.Option("--exclusive", help="Play while no other run that is exclusive plays on this host.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="With --exclusive: wait for the other run.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print every number, also those that are 0.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run scenarios. Exit code 0: all expectations held; 1: one did not; 4: the emulation was invalid."""
    from testbed.analysis.junit import write_junit
    from testbed.host.exclusive import exclusive
    from testbed.host.machine import require_root
    from testbed.record.inputs import recorded_code
    from testbed.run.campaign import Campaign
    from testbed.run.checked import load_checked
    from testbed.run.runner import Options
    from testbed.show.tables import print_repetitions
    from testbed.show.terminal import print_summary

    if on is None:
        require_root()
    for path in scenarios:
        for code in recorded_code(path):
            err.print(f"{path}: executes the code of {code}", markup=False, soft_wrap=True)
    chosen = [*(assignments or []), *([] if seed is None else [f"seed={seed}"])]
    chosen += [] if baseline is None else [f"baseline={json.dumps(str(baseline.absolute()))}"]
    loaded = [load_checked(path, chosen) for path in scenarios]
    tell_missing(*loaded)
    if directory is not None and len(loaded) > 1:
        raise SpecError.of("--out", "names one directory for several scenarios; run them one by one")
    if junit is not None and not os.access(junit.parent, os.W_OK):
        raise SpecError.of("--junit", f"{junit} cannot be written; name a file in an existing directory")
    if keep and repeat > 1:
        raise SpecError.of("--keep", "leaves one world standing, and --repeat makes several; omit one of the two")
    if alone and on is not None:
        raise SpecError.of("--exclusive", "is how --on plays every run; omit it")
    if wait and not alone:
        raise SpecError.of("--wait", "waits for the end of an exclusive run, so it needs --exclusive")
    campaigns = [Campaign(scenario, directory, repeat) for scenario in loaded]
    try:
        lock = exclusive(" ".join(map(str, scenarios)), wait) if alone else nullcontext()
        with lock, chosen_players(on, Options(None, links, fidelity, keep)) as players:
            for campaign in campaigns:
                campaign.play(players)
                if not as_json and repeat == 1:
                    print_summary(campaign.summaries[-1], out, verbose)
                    if keep:
                        _print_kept(campaign.summaries[-1])
                elif not as_json:
                    print_repetitions(campaign.summaries, out)
                if campaign.summaries[-1].interrupted:
                    break
    except KeyboardInterrupt:
        err.print("interrupted; everything is cleaned up")
        raise typer.Exit(130) from None
    finally:  # a failure of a later run must not lose the results of earlier ones
        summaries = [summary for campaign in campaigns for summary in campaign.summaries]
        if as_json:
            out.print_json(
                json.dumps([{**summary.as_dict(), "directory": str(summary.directory)} for summary in summaries])
            )
        if junit is not None:
            write_junit(summaries, junit)
    raise typer.Exit(max(summary.exit_code for summary in summaries))


def _print_kept(summary: "Summary") -> None:
    from testbed.show.terminal import print_kept
    from testbed.world.standing import find_standing

    topology = summary.scenario.topology
    node, link = next(iter(topology.nodes)), next((link.name for link in topology.resolved_links), None)
    print_kept(summary.run, node, find_standing(summary.run).socket(node), link, out)


@app.command(epilog="Example: `testbed chaos scenarios/chaos.yaml --runs 20`")
def chaos(
    scenario: Annotated[Path, typer.Argument(help="A scenario file.", show_default=False)],
    runs: Annotated[int, typer.Option(min=1, help="Number of runs, unless one breaks something.")] = 20,
    seed: Annotated[int | None, typer.Option(help="Seed of the first run, instead of the scenario's.")] = None,
    directory: Annotated[Path | None, typer.Option("--out", help="Directory of the runs; new or empty.")] = None,
    assignments: Assignments = None,
    links: LinkBackend = None,
    fidelity: Annotated[Mode, typer.Option(help="How thoroughly to measure the links in each run.")] = "off",
    as_json: AsJson = False,
) -> None:
    """Run random timelines until an invariant breaks, and find the smallest timeline that breaks it.

    Exit code 0: none broke; 1: one did; 4: the emulation was invalid in every run.
    """
    from testbed.host.machine import require_root
    from testbed.run.chaos import Chaos
    from testbed.run.checked import load_checked
    from testbed.run.runner import Options
    from testbed.show.live import watching
    from testbed.show.report.chaos import CHAOS_PAGE
    from testbed.show.tables import print_breach

    require_root()
    chosen = [*(assignments or []), *([] if seed is None else [f"seed={seed}"])]
    loaded = load_checked(scenario, chosen)
    tell_missing(loaded)

    def tell(line: str) -> None:
        err.print(line, markup=False, soft_wrap=True)

    played = Chaos(loaded, Options(directory, links, fidelity), partial(watching, err), tell)
    try:
        played.play(runs)
    except KeyboardInterrupt:
        err.print("interrupted; everything is cleaned up")
        raise typer.Exit(130) from None
    if as_json:
        out.print_json(json.dumps(played.as_dict()))
    elif played.breach is None:
        out.print(f"{loaded.name}: nothing broke in {played.played} runs; {played.invalid} were invalid")
    else:
        print_breach(played.breach.broken, played.breach.scenario, played.breach.path, out)
    if not as_json:
        out.print(str(played.directory / CHAOS_PAGE), markup=False, soft_wrap=True)
    raise typer.Exit(played.exit_code)


@app.command(
    epilog="Example: `testbed sweep scenarios/gossip_moa.yaml --grid layers=0,1,2 --grid proposers=1,3 --repeat 3`"
)
def sweep(
    scenario: Annotated[Path, typer.Argument(help="Scenario file.", show_default=False)],
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,VALUE,…", help="Values of a key; of several keys, every combination."),
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each point: with its seed and the seeds after it.")] = 1,
    directory: Annotated[
        Path | None, typer.Option("--out", help="Directory of the sweep. Runs that it holds already are not run again.")
    ] = None,
    assignments: Assignments = None,
    on: On = None,
    links: LinkBackend = None,
    fidelity: Annotated[Mode, typer.Option(help="How thoroughly to measure the links.")] = "quick",
    as_json: AsJson = False,
) -> None:
    """Run a scenario at every point of a grid, or of its own `sweep`, and write one table and one figure."""
    from testbed.host.machine import require_root
    from testbed.run.runner import Options
    from testbed.run.sweep import Sweep
    from testbed.schema.points import read_grid
    from testbed.show.report.sweep import SWEEP_PAGE
    from testbed.show.tables import print_sweep

    if on is None:
        require_root()
    runs = Sweep(scenario, assignments or [], read_grid(grid or []), repeat, directory)
    tell_missing(*runs.scenarios)
    try:
        with chosen_players(on, Options(None, links, fidelity)) as players:
            runs.play(players)
    except KeyboardInterrupt:
        runs.interrupted = True
    finally:  # a failure of a later run must not lose the results of earlier ones
        runs.write()
    if as_json:
        out.print_json(json.dumps([visit.row() for visit in runs.visited]))
    else:
        print_sweep(runs.visited, out)
        out.print(str(runs.directory / SWEEP_PAGE), markup=False, soft_wrap=True)
    raise typer.Exit(130 if runs.interrupted else runs.exit_code)
