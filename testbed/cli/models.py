"""The verbs about models."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.console import err, out
from testbed.cli.options import AsJson
from testbed.core.errors import SpecError

if TYPE_CHECKING:
    from testbed.schema.scenario import Scenario

app = typer.Typer(rich_markup_mode="markdown")

Reference = Annotated[str, typer.Argument(help="As in a topology file, like zoo/alpha.", show_default=False)]
References = Annotated[list[str], typer.Argument(help="As in topology files.", show_default=False)]


@app.callback(invoke_without_command=True, epilog="Example: `testbed models`")
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List models: those that come along, those of the catalogue, those that were fetched, and random ones."""
    if context.invoked_subcommand is not None:
        return
    from testbed.models.listing import known_models
    from testbed.show.models import print_models

    known = known_models()
    if as_json:
        out.print_json(json.dumps([model.as_dict() for model in known]))
    else:
        print_models(known, out)


@app.command("fetch", epilog="Example: `testbed models fetch smollm2-135m-instruct`")
def fetch(references: References, as_json: AsJson = False) -> None:
    """Fetch models, unless they are on this host. Runs do so by themselves."""
    from testbed.models.listing import details
    from testbed.models.resolution import Missing, resolve
    from testbed.show.live import watching

    for reference in references:
        if (absent := Missing.of(reference)) is not None:
            err.print(str(absent), markup=False, soft_wrap=True)
        with watching(err, "models") as view:
            resolve(reference, view.fetch)
    fetched = [details(reference) for reference in references]
    if as_json:
        out.print_json(json.dumps(fetched))
    else:
        for model in fetched:
            out.print(f"{model['reference']}: {model['files'][0]}", markup=False, soft_wrap=True)


@app.command("show", epilog="Example: `testbed models show smollm2-135m-instruct`")
def show(reference: Reference, as_json: AsJson = False) -> None:
    """Show what is known of a model: licence, size, hash, places; and its file, if it is on this host."""
    from testbed.models.listing import details
    from testbed.show.models import print_details

    known = details(reference)
    if as_json:
        out.print_json(json.dumps(known))
    else:
        print_details(known, out)


@app.command("remove", epilog="Example: `testbed models remove gemma3-270m`")
def remove(references: References, as_json: AsJson = False) -> None:
    """Delete models that were fetched."""
    from testbed.models.sources import store

    removed = [store.remove(reference) for reference in references]
    if as_json:
        out.print_json(json.dumps([model.as_dict() for model in removed]))
    else:
        for model in removed:
            out.print(f"{model.reference}: removed {model.folder}", markup=False, soft_wrap=True)


@app.command("split", epilog="Example: `testbed models split zoo/alpha --stages 3`")
def split_model(
    model: Reference,
    stages: Annotated[int | None, typer.Option(help="Number of stages, as equal as possible.")] = None,
    layers: Annotated[str | None, typer.Option(help="Each stage's first and last layer, like 0-1,2-5.")] = None,
    as_json: AsJson = False,
) -> None:
    """Cut a model into the stages of a ring: a file with the layers of each stage, and one with the tokenizer."""
    from testbed.models.resolution import resolve
    from testbed.models.split import StagePlan, split
    from testbed.show.live import watching
    from testbed.show.models import print_split

    if (stages is None) == (layers is None):
        raise SpecError.of("models split", "give either --stages or --layers")
    with watching(err, "models") as view:
        known = resolve(model, view.fetch)
    plan = StagePlan.even(known.layers, stages) if stages is not None else StagePlan.parse(layers or "")
    files = split(known, plan)
    if as_json:
        out.print_json(json.dumps(files.as_dict()))
    else:
        print_split(files, out)


def tell_missing(*scenarios: "Scenario") -> None:
    """Say which models a run is going to fetch, and on what terms."""
    from testbed.models.resolution import missing

    lines = [str(model) for scenario in scenarios for model in missing(scenario.model_references)]
    for line in dict.fromkeys(lines):
        err.print(line, markup=False, soft_wrap=True)
