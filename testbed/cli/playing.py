"""The verbs that play scenarios."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from testbed.analysis.verdict.fidelity import Mode
from testbed.cli.console import err, out
from testbed.cli.options import AsJson, Assignments, LinkBackend, Scenarios
from testbed.core.errors import SpecError

app = typer.Typer()


@app.command(epilog="Example: `testbed run scenarios/gossip_moa.yaml --seed 3 --set pattern.layers=0`")
def run(
    scenarios: Scenarios,
    directory: Annotated[Path | None, typer.Option("--out", help="Run directory; must not exist.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed instead of the scenario's.")] = None,
    assignments: Assignments = None,
    links: LinkBackend = None,
    fidelity: Annotated[
        Mode, typer.Option(help="How thoroughly to measure the links, before play and after.")
    ] = "quick",
    repeat: Annotated[int, typer.Option(min=1, help="Run each so many times: with its seed, and the next ones.")] = 1,
    baseline: Annotated[
        Path | None, typer.Option(help="Run directory, or one that holds some: a run that is worse fails.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write all results as JUnit XML, too.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave nodes and network standing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run scenarios. Exit code 0: what was expected held; 1: it did not; 4: the emulation was not what was asked."""
    from testbed.analysis.junit import write_junit
    from testbed.host.machine import require_root
    from testbed.models.holdings import model_mistakes
    from testbed.record.inputs import recorded_code
    from testbed.run.campaign import Campaign
    from testbed.run.runner import Options
    from testbed.schema.scenario import load_scenario
    from testbed.show.live import watching
    from testbed.show.tables import print_repetitions
    from testbed.show.terminal import print_summary

    require_root()
    for path in scenarios:
        for code in recorded_code(path):
            err.print(f"{path}: executes the code of {code}", markup=False, soft_wrap=True)
    chosen = [*(assignments or []), *([] if seed is None else [f"seed={seed}"])]
    chosen += [] if baseline is None else [f"baseline={json.dumps(str(baseline.absolute()))}"]
    loaded = [load_scenario(path, chosen, model_mistakes) for path in scenarios]
    if directory is not None and len(loaded) > 1:
        raise SpecError.of("--out", "names one directory, and there are several scenarios; run them one by one")
    if junit is not None and not os.access(junit.parent, os.W_OK):
        raise SpecError.of("--junit", f"{junit} cannot be written; name a file in a directory that is there")
    if keep and repeat > 1:
        raise SpecError.of("--keep", "leaves one world standing, and --repeat makes several; leave one of the two out")
    campaigns = [Campaign(scenario, Options(directory, links, fidelity, keep), repeat) for scenario in loaded]
    try:
        for campaign in campaigns:
            campaign.play(lambda name: watching(err, name))
            if not as_json and repeat == 1:
                print_summary(campaign.summaries[-1], out)
            elif not as_json:
                print_repetitions(campaign.summaries, out)
            if campaign.summaries[-1].interrupted:
                break
    except KeyboardInterrupt:
        err.print("interrupted; everything is cleaned up")
        raise typer.Exit(130) from None
    finally:  # what earlier runs gave is not lost to a later one
        summaries = [summary for campaign in campaigns for summary in campaign.summaries]
        if as_json:
            out.print_json(json.dumps([summary.as_dict() for summary in summaries]))
        if junit is not None:
            write_junit(summaries, junit)
    raise typer.Exit(max(summary.exit_code for summary in summaries))


@app.command(epilog="Example: `testbed chaos scenarios/chaos.yaml --runs 20`")
def chaos(
    scenario: Annotated[Path, typer.Argument(help="A scenario file.", show_default=False)],
    runs: Annotated[int, typer.Option(min=1, help="How many runs, if nothing breaks.")] = 20,
    seed: Annotated[int | None, typer.Option(help="Seed of the first, instead of the scenario's.")] = None,
    directory: Annotated[Path | None, typer.Option("--out", help="Directory of the runs; must not exist.")] = None,
    assignments: Assignments = None,
    links: LinkBackend = None,
    fidelity: Annotated[Mode, typer.Option(help="How thoroughly to measure the links in each run.")] = "off",
    as_json: AsJson = False,
) -> None:
    """Run random timelines until something breaks that holds of every run, and find the smallest that breaks it.

    Exit code 0: nothing broke; 1: something did; 4: in no run was the emulation what was asked.
    """
    from testbed.host.machine import require_root
    from testbed.models.holdings import model_mistakes
    from testbed.run.chaos import Chaos
    from testbed.run.runner import Options
    from testbed.schema.scenario import load_scenario
    from testbed.show.live import watching
    from testbed.show.tables import print_breach

    require_root()
    chosen = [*(assignments or []), *([] if seed is None else [f"seed={seed}"])]
    loaded = load_scenario(scenario, chosen, model_mistakes)

    def tell(line: str) -> None:
        err.print(line, markup=False, soft_wrap=True)

    played = Chaos(loaded, Options(directory, links, fidelity), lambda name: watching(err, name), tell)
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
    repeat: Annotated[int, typer.Option(min=1, help="Run each point so many times, each time with the next seed.")] = 1,
    directory: Annotated[
        Path | None, typer.Option("--out", help="Directory of the sweep; what was played there is not played again.")
    ] = None,
    assignments: Assignments = None,
    links: LinkBackend = None,
    fidelity: Annotated[Mode, typer.Option(help="How thoroughly to measure the links.")] = "quick",
    as_json: AsJson = False,
) -> None:
    """Run a scenario at every point of a grid, or of its own `sweep`, and put it all into one table and one figure."""
    from testbed.host.machine import require_root
    from testbed.run.runner import Options
    from testbed.run.sweep import Sweep
    from testbed.schema.points import read_grid
    from testbed.show.live import watching
    from testbed.show.tables import print_sweep

    require_root()
    runs = Sweep(scenario, assignments or [], read_grid(grid or []), repeat, Options(directory, links, fidelity))
    try:
        runs.play(lambda name, pace: watching(err, name, pace))
    except KeyboardInterrupt:
        runs.interrupted = True
    finally:  # what earlier runs gave is not lost to a later one
        runs.write()
    if as_json:
        out.print_json(json.dumps([visit.row() for visit in runs.visited]))
    else:
        print_sweep(runs.visited, out)
        out.print(f"{runs.directory}", markup=False, soft_wrap=True)
    raise typer.Exit(130 if runs.interrupted else runs.exit_code)
