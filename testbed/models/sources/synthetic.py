"""Models with the dimensions of real ones and random weights."""

from pathlib import Path

from testbed.models import random_weights
from testbed.schema.network.model_source import ModelError, ModelSource, Progress


class Synthetic(ModelSource):
    """Random weights in a real model's dimensions, drawn on this host when first asked for."""

    form = "synthetic:NAME"
    random = True

    def check(self, name: str) -> None:
        """Raises ModelError if there is no synthetic model of this name."""
        _recipe(name)

    def find(self, name: str) -> Path | None:
        """The file in the cache; raises ModelError if there is no synthetic model of this name."""
        path = _recipe(name).path
        return path if path.exists() else None

    def size(self, name: str) -> int:
        """The bytes of the weights."""
        return _recipe(name).size

    def fetch(self, name: str, progress: Progress) -> Path:
        """The file in the cache, drawn if it is missing; raises ModelError."""
        del progress
        try:
            return _recipe(name).drawn()
        except OSError as error:
            raise ModelError(f"synthetic:{name} cannot be written: {error}") from error


def _recipe(name: str) -> random_weights.Recipe:
    if name not in random_weights.RECIPES:
        known = ", ".join(recipe.reference for recipe in random_weights.RECIPES.values())
        raise ModelError(f"synthetic:{name}: there is no such model; known are {known}")
    return random_weights.RECIPES[name]


SYNTHETIC = Synthetic()
