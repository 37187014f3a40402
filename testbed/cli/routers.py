"""The verbs about learned routers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from testbed.cli.console import err, out
from testbed.cli.options import AsJson, run_argument
from testbed.core.errors import SpecError

if TYPE_CHECKING:
    from testbed.patterns.vertical.routers.router import Router

app = typer.Typer(rich_markup_mode="markdown", no_args_is_help=True)

Runs = Annotated[
    list[Path],
    run_argument(metavar="RUN…", help="Runs of `policy: all`: ids, run directories, or directories that hold some."),
]


@app.callback()
def routers() -> None:
    """Fit routers on runs in which every stage answered every prompt, and judge them on others."""


@app.command("fit", epilog="Example: `testbed router fit runs/calibration --out router.json`")
def fit(
    runs: Runs,
    file: Annotated[Path, typer.Option("--out", help="File of the router.", show_default=False)],
    features: Annotated[
        Literal["prompt", "answer", "length"],
        typer.Option(help="What it reads: the prompt; with the weak stage's answer, for a cascade; its length alone."),
    ] = "prompt",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the hash and of the cross-validation.")] = 0,
) -> None:
    """Fit a router: the probability that the strong stage is right on a prompt and the weak one wrong."""
    from testbed.analysis.routing.examples import examples, readable
    from testbed.analysis.routing.fitting import fit as fitted

    known = examples(runs)
    gains = sum(example.gain for example in known)
    if not 0 < gains < len(known) or len(known) < 20:
        raise SpecError.of(
            "router fit",
            f"{gains} of {len(known)} prompts are right by the strong stage alone; it takes 20 prompts, "
            "some that are and some that are not",
        )
    if features == "answer" and not readable(known):
        raise SpecError.of("--features", "the weak stage's answers have no log-probabilities; fit on the prompt")
    router = fitted(known, features, seed)
    try:
        file.write_text(router.model_dump_json(), encoding="utf-8")
    except OSError as error:
        raise SpecError.of("--out", f"{file} cannot be written: {error.strerror}") from None
    out.print(
        f"{file}: fitted on {len(known)} prompts, {gains} of which are right by the strong stage alone",
        markup=False,
        soft_wrap=True,
    )


@app.command("evaluate", epilog="Example: `testbed router evaluate router.json runs/held-out`")
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="ROUTER", help="A file of `router fit`.", show_default=False)],
    runs: Runs,
    as_json: AsJson = False,
) -> None:
    """Judge a router on the prompts of runs that it was not fitted on."""
    from testbed.analysis.routing.evaluation import evaluate as evaluated
    from testbed.analysis.routing.evaluation import held_out
    from testbed.analysis.routing.examples import examples, readable
    from testbed.show.routers import print_evaluation

    router = _loaded(file, "router evaluate")
    known = examples(runs)
    new = held_out(router, known)
    if not new:
        raise SpecError.of("router evaluate", "the router was fitted on every prompt of these runs; name others")
    if router.reads_answers and not readable(new):
        raise SpecError.of("router evaluate", "the router reads log-probabilities, which these answers lack")
    if len(new) < len(known) and not as_json:
        err.print(f"left out {len(known) - len(new)} prompts that the router was fitted on")
    judged = evaluated(router, new)
    if as_json:
        out.print_json(json.dumps(judged.as_dict()))
    else:
        print_evaluation(judged, out)


@app.command("estimate", epilog="Example: `testbed router estimate router.json runs/linucb`")
def estimate(
    file: Annotated[Path, typer.Argument(metavar="ROUTER", help="A file of `router fit`.", show_default=False)],
    runs: Annotated[
        list[Path],
        run_argument(metavar="RUN…", help="Runs of a route in which chance had a share."),
    ],
    as_json: AsJson = False,
) -> None:
    """Estimate from runs of another rule what a router would have scored, by the propensities that they logged."""
    from testbed.analysis.routing.evaluation import evaluate_off_policy
    from testbed.analysis.routing.examples import logged_choices
    from testbed.show.routers import print_estimates

    router = _loaded(file, "router estimate")
    if router.reads_answers:
        raise SpecError.of("router estimate", "the router reads the weak stage's answer, which a route does not have")
    estimates = evaluate_off_policy(router, logged_choices(runs))
    if as_json:
        out.print_json(json.dumps([one.as_dict() for one in estimates]))
    else:
        print_estimates(estimates, out)


@app.command("thresholds", epilog="Example: `testbed router thresholds runs/calibration --signal p10 --offload 40%`")
def thresholds(
    runs: Runs,
    signal: Annotated[Literal["word", "mean", "p10", "first"], typer.Option(help="The signal of the cascade.")],
    cost: Annotated[float | None, typer.Option(min=0, help="Most money that a prompt costs in the mean.")] = None,
    offload: Annotated[
        str | None, typer.Option(help="Or the largest share of prompts that the last stage answers.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the thresholds of a cascade that give the most right answers within a budget."""
    from testbed.analysis.routing.thresholds import best_thresholds, ladders
    from testbed.core.units import SHARE
    from testbed.patterns.participant import JobError

    if (cost is None) == (offload is None):
        raise SpecError.of(
            "router thresholds", "give either --cost, in the currency of the nodes' prices, or --offload"
        )
    try:
        most = cost if cost is not None else SHARE.parse(offload or "")
    except ValueError as error:
        raise SpecError.of("--offload", str(error)) from None
    known = ladders(runs)
    if cost is not None and all(answer.cost is None for ladder in known for answer in ladder):
        raise SpecError.of("--cost", "no node of these runs has a `price`; use --offload")
    try:
        best = best_thresholds(known, signal, "offload" if cost is None else "cost", most)
    except JobError as error:
        raise SpecError.of("--signal", str(error)) from None
    if best is None:
        raise SpecError.of(
            "router thresholds", "no thresholds keep this budget, since the first stage alone exceeds it"
        )
    if as_json:
        out.print_json(json.dumps(best.as_dict()))
        return
    values = ", ".join(f"{value:.6g}" for value in best.above)
    out.print(f"accept: {{signal: {signal}, above: [{values}]}}", markup=False, soft_wrap=True)
    out.print(
        f"on {len(known)} prompts: {best.accuracy:.1%} right, {best.offload:.1%} answered by the last stage, "
        f"{best.cost:.3g} a prompt"
    )


def _loaded(file: Path, verb: str) -> "Router":
    from testbed.patterns.vertical.routers.router import Router

    try:
        return Router.load(file)
    except ValueError as error:
        raise SpecError.of(verb, str(error)) from None
