"""The verbs, a few lines each: every one is a call into the modules that do the work."""

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from testbed.errors import SpecError, TestbedError
from testbed.results.fidelity import Mode

app = typer.Typer(
    name="testbed",
    help="A hardware-in-the-loop testbed for language models at the network edge.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


class _Terminal(Console):
    """A console whose reader may leave: that is no failure of the run."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from here on."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


out = _Terminal(highlight=False)
err = _Terminal(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Scenarios = Annotated[list[Path], typer.Argument(help="Scenario files.", show_default=False)]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the scenario, like pattern.layers=2."),
]


@app.command(epilog="Example: `testbed run scenarios/gossip_moa.yaml --seed 3 --set pattern.layers=0`")
def run(
    scenarios: Scenarios,
    directory: Annotated[Path | None, typer.Option("--out", help="Run directory; must not exist.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed instead of the scenario's.")] = None,
    assignments: Assignments = None,
    links: Annotated[str | None, typer.Option(help="Link backend: kernel or userspace. By default probed.")] = None,
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
    from testbed.campaign import Campaign
    from testbed.live import watching
    from testbed.models.holdings import model_mistakes
    from testbed.results.summary import write_junit
    from testbed.results.tables import print_repetitions
    from testbed.results.terminal import print_summary
    from testbed.runner import Options
    from testbed.spec.scenario import load_scenario

    _require_root()
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
    links: Annotated[str | None, typer.Option(help="Link backend: kernel or userspace. By default probed.")] = None,
    fidelity: Annotated[Mode, typer.Option(help="How thoroughly to measure the links in each run.")] = "off",
    as_json: AsJson = False,
) -> None:
    """Run random timelines until something breaks that holds of every run, and find the smallest that breaks it.

    Exit code 0: nothing broke; 1: something did; 4: in no run was the emulation what was asked.
    """
    from testbed.chaos import Chaos
    from testbed.live import watching
    from testbed.models.holdings import model_mistakes
    from testbed.results.tables import print_breach
    from testbed.runner import Options
    from testbed.spec.scenario import load_scenario

    _require_root()
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
    links: Annotated[str | None, typer.Option(help="Link backend: kernel or userspace. By default probed.")] = None,
    fidelity: Annotated[Mode, typer.Option(help="How thoroughly to measure the links.")] = "quick",
    as_json: AsJson = False,
) -> None:
    """Run a scenario at every point of a grid, or of its own `sweep`, and put it all into one table and one figure."""
    from testbed.live import watching
    from testbed.results.tables import print_sweep
    from testbed.runner import Options
    from testbed.spec.sweep import read_grid
    from testbed.sweep import Sweep

    _require_root()
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


@app.command(epilog="Example: `testbed compare runs/main runs/mine`, each a directory of `run --repeat 5 --out DIR`")
def compare(
    base: Annotated[Path, typer.Argument(help="A run directory, or one that holds some.", show_default=False)],
    new: Annotated[list[Path], typer.Argument(help="The same, one or more.", show_default=False)],
    more: Annotated[list[Path] | None, typer.Option("--base", help="Another one beside BASE.")] = None,
    margin: Annotated[str, typer.Option(help="Change that is too small to matter.")] = "5%",
    as_json: AsJson = False,
) -> None:
    """Set two sets of runs side by side. Exit code 0: nothing is worse; 1: something is."""
    from testbed.results.comparison import compare_scenarios
    from testbed.results.recorded import load_runs
    from testbed.results.tables import print_comparison
    from testbed.units import SHARE

    try:
        least = SHARE.parse(margin)
    except ValueError as error:
        raise SpecError.of("--margin", str(error)) from None
    comparisons = compare_scenarios(load_runs([base, *(more or [])]), load_runs(new), least)
    if as_json:
        out.print_json(json.dumps([comparison.as_dict() for comparison in comparisons]))
    else:
        for comparison in comparisons:
            print_comparison(comparison, out)
    raise typer.Exit(1 if any(comparison.regressions for comparison in comparisons) else 0)


@app.command(epilog="Example: `testbed report runs/mine`, or `testbed report runs/main runs/mine` to compare")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, or ones that hold some.", show_default=False)],
    page: Annotated[Path | None, typer.Option("--out", help="Where the comparison of several goes.")] = None,
) -> None:
    """Make the page and the trace of a run again, or one page that holds other runs against the first."""
    from testbed.report import REPORT, write_comparison, write_report
    from testbed.results.recorded import run_directories

    base, *new = runs
    if new:
        page = page or Path("comparison.html")
        write_comparison(base, new, page)
        out.print(str(page), markup=False, soft_wrap=True)
        return
    if page is not None:
        raise SpecError.of("--out", "is for comparisons; the page of a run is in its directory")
    for directory in run_directories(base):
        write_report(directory)
        out.print(str(directory / REPORT), markup=False, soft_wrap=True)


@app.command(epilog="Example: `testbed validate scenarios/*.yaml`")
def validate(scenarios: Scenarios, assignments: Assignments = None) -> None:
    """Check scenario files and their topologies, and say every mistake with its line."""
    from testbed.models.holdings import model_mistakes
    from testbed.spec.scenario import load_scenario

    problems = []
    for path in scenarios:
        try:
            load_scenario(path, assignments or [], model_mistakes)
        except SpecError as error:
            problems += error.problems
        else:
            out.print(f"{path}: valid", markup=False, soft_wrap=True)
    if problems:
        raise SpecError(problems)


@app.command(epilog="Example: `testbed topology geometric:nodes=20,radius=0.3,seed=7 --yaml my.yaml`")
def topology(
    source: Annotated[
        str, typer.Argument(help="A topology file, a .graphml file, or a recipe like geometric:nodes=20.")
    ],
    svg: Annotated[Path | None, typer.Option(help="Draw it into this file.")] = None,
    yaml: Annotated[Path | None, typer.Option(help="Write what is imported or generated as a topology file.")] = None,
    node: Annotated[str, typer.Option(help="What each of its nodes is, like model=zoo/alpha,cpus=0.2.")] = "",
    as_json: AsJson = False,
) -> None:
    """Draw a topology with each link's numbers; import one from GraphML, or generate one."""
    from testbed.topologies import source as sources
    from testbed.topologies.svg import draw
    from testbed.topologies.terminal import print_topology

    shown = sources.load(source, node, yaml)
    if svg is not None:
        sources.write("--svg", svg, draw(shown))
    if as_json:
        out.print_json(json.dumps(sources.as_dict(shown)))
    else:
        print_topology(shown, out)


Property = Annotated[str | None, typer.Option(metavar="VALUE", rich_help_panel="Properties, as in a topology file")]


@app.command(epilog="Example: `testbed link 3fa9c1 a-s1 --delay 80ms --way up`; without a property it shows the links")
def link(
    run: Annotated[str, typer.Argument(help="The run, which goes on or was kept.")],
    name: Annotated[str | None, typer.Argument(help="The link, like a-s1.")] = None,
    way: Annotated[Literal["up", "down", "both"], typer.Option(help="The direction that is meant.")] = "both",
    state: Annotated[
        Literal["up", "down"] | None, typer.Option(help="down: every frame is lost, until it is up again.")
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
    """Change a link of a run while it carries frames. Nothing that waits or is on its way is dropped for that."""
    from testbed.emulation.world import running_links
    from testbed.spec.link import WAYS
    from testbed.spec.shape import read_shape
    from testbed.topologies.terminal import print_links

    _require_root()
    links = running_links(run)
    given = {"preset": preset, "bandwidth": bandwidth, "delay": delay, "jitter": jitter, "loss": loss, "trace": trace}
    given |= {"duplicate": duplicate, "reorder": reorder, "corrupt": corrupt, "queue": queue}
    shape = read_shape({key: value for key, value in given.items() if value is not None})
    cut = {} if state is None else {"cut": state == "down"}
    said = {one: cut | shape.said_of(one) for one in WAYS if way in (one, "both")}
    if any(said.values()):
        if name is None:
            raise SpecError.of("link", "name the link that is to change, like a-s1")
        links.change(name, said)
    print_links([wiring.link for wiring in (links.current() if name is None else [links.find(name)])], out)


@app.command(epilog="Example: `testbed doctor`")
def doctor(as_json: AsJson = False) -> None:
    """Check everything the testbed relies on, and say what mends it."""
    from testbed.emulation.doctor import examine
    from testbed.results.terminal import print_findings

    findings = examine()
    if as_json:
        out.print_json(json.dumps([finding.as_dict() for finding in findings]))
    else:
        print_findings(findings, out)
    raise typer.Exit(3 if any(finding.problem for finding in findings) else 0)


@app.command(epilog="Example: `testbed clean`, or `testbed clean 3fa9c1` for a run that was kept")
def clean(runs: Annotated[list[str] | None, typer.Argument(help="Runs that were kept and may go.")] = None) -> None:
    """Remove what dead runs left behind, and nothing else."""
    from testbed.emulation.journal import undo_dead_runs

    _require_root()
    for line in undo_dead_runs(runs or []):
        out.print(line, markup=False, soft_wrap=True)


@app.command(epilog="Example: `testbed shell a`")
def shell(
    node: Annotated[str, typer.Argument(help="The node.")],
    in_run: Annotated[str | None, typer.Option("--run", help="The run, where several are kept.")] = None,
) -> None:
    """Open a shell in a node of a run that was started with --keep."""
    from testbed.emulation.shell import open_shell

    _require_root()
    raise typer.Exit(open_shell(node, in_run))


@app.command(epilog="Example: `testbed image --base python:3.12-slim`")
def image(
    base: Annotated[
        str | None, typer.Option(help="An image to build on from now on; `local` for one made here.")
    ] = None,
) -> None:
    """Make the node image, if it is not there already, and print its tag."""
    from testbed.emulation.host import connect_docker
    from testbed.emulation.image import ensure_image

    _require_root()
    with err.status("node image") if err.is_terminal else nullcontext():
        tag = ensure_image(connect_docker(), err.print, base)
    out.print(tag)


models_app = typer.Typer(rich_markup_mode="markdown")
app.add_typer(models_app, name="models")


@models_app.callback(invoke_without_command=True, epilog="Example: `testbed models`")
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the built-in models: trained ones, and ones that are drawn when they are first used."""
    from testbed.models import zoo
    from testbed.models.source import resolve
    from testbed.models.synthetic import RECIPES
    from testbed.results.terminal import print_models

    if context.invoked_subcommand is not None:
        return
    known = [resolve(f"zoo/{name}") for name in zoo.NAMES]
    if as_json:
        drawn = [recipe.as_dict() for recipe in RECIPES.values()]
        out.print_json(json.dumps([{**vars(model), "path": str(model.path)} for model in known] + drawn))
    else:
        print_models(known, RECIPES.values(), out)


@models_app.command("split", epilog="Example: `testbed models split zoo/alpha --stages 3`")
def split_model(
    model: Annotated[str, typer.Argument(help="As in a topology file, like zoo/alpha.", show_default=False)],
    stages: Annotated[int | None, typer.Option(help="How many stages, as equal as can be.")] = None,
    layers: Annotated[str | None, typer.Option(help="Each stage's first and last layer, like 0-1,2-5.")] = None,
    as_json: AsJson = False,
) -> None:
    """Cut a model into the stages of a ring: a file of some layers for each, and one of the tokenizer."""
    from testbed.models.source import resolve
    from testbed.models.split import StagePlan, split
    from testbed.results.terminal import print_split

    if (stages is None) == (layers is None):
        raise SpecError.of("models split", "give either --stages or --layers")
    known = resolve(model)
    plan = StagePlan.even(known.layers, stages) if stages is not None else StagePlan.parse(layers or "")
    files = split(known, plan)
    if as_json:
        out.print_json(json.dumps(files.as_dict()))
    else:
        print_split(files, out)


@app.command(epilog="Example: `testbed devices`, or `testbed devices my-devices.yaml`")
def devices(
    own: Annotated[Path | None, typer.Argument(help="A file with more of them, as a topology names it.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the device profiles that nodes can have, and where their numbers are from."""
    from testbed.results.terminal import print_profiles
    from testbed.spec.device import profiles

    known = profiles(own)
    if as_json:
        out.print_json(json.dumps({name: profile.model_dump() for name, profile in known.items()}))
    else:
        print_profiles(known, out)


@app.command(epilog="Example: `testbed schema > scenario.schema.json`")
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from testbed.spec.scenario import json_schema

    print(json.dumps(json_schema(), indent=2))


def _require_root() -> None:
    from testbed.emulation.host import require_root

    require_root()


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
