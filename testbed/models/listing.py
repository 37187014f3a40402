"""Every model that this host knows by name or has fetched."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from testbed.models import zoo
from testbed.models.random_weights import RECIPES
from testbed.models.resolution import find
from testbed.models.sources import catalogue, store

State = Literal["comes along", "random weights", "fetched", "not fetched"]


@dataclass(frozen=True)
class Listed:
    """A model: its size in bytes, and what is known of it."""

    reference: str
    state: State
    size: int
    licence: str = ""
    chat: str = ""
    about: str = ""
    terms: str | None = None
    sha256: str | None = None
    places: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        """Whether its weights are random."""
        return self.state == "random weights"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "synthetic": self.synthetic}


def known_models() -> list[Listed]:
    """The built-in models, those of the catalogue, those that were fetched from elsewhere, and the synthetic ones."""
    return [*_zoo(), *_catalogue(), *_fetched(), *_synthetic()]


def details(reference: str) -> dict[str, Any]:
    """What is known of a model, and of its file if it is on this host; raises ModelError if there is none."""
    model = find(reference)
    listed = {known.reference: known for known in known_models()}.get(reference)
    known = {} if listed is None else {key: value for key, value in listed.as_dict().items() if value}
    if model is None:
        return {"reference": reference, "state": "not fetched", **known}
    return {
        "state": "on this host",
        **known,
        "reference": reference,
        "size": model.size,
        "sha256": model.sha256,
        "files": [str(path) for path in (model.path, *model.further_parts)],
        "layers": model.layers,
        "vocabulary": model.vocabulary,
        "kv_width": model.kv_width,
        "synthetic": model.synthetic,
    }


def _zoo() -> Iterator[Listed]:
    for name in zoo.NAMES:
        model = find(f"zoo/{name}")
        assert model is not None  # part of the package
        yield Listed(
            model.reference,
            "comes along",
            model.size,
            "Apache-2.0",
            "its own",
            f"strong in {', '.join(zoo.DOMAINS_OF[name])} of `worldfacts`",
        )


def _catalogue() -> Iterator[Listed]:
    for name, entry in catalogue.entries().items():
        yield Listed(
            name,
            "not fetched" if store.find(name) is None else "fetched",
            entry.size,
            entry.licence,
            entry.chat,
            entry.about,
            entry.terms,
            entry.sha256,
            tuple(entry.places),
        )


def _fetched() -> Iterator[Listed]:
    for model in store.stored():
        if model.reference not in catalogue.entries():
            yield Listed(model.reference, "fetched", model.size, sha256=model.sha256)


def _synthetic() -> Iterator[Listed]:
    for recipe in RECIPES.values():
        yield Listed(recipe.reference, "random weights", recipe.size)
