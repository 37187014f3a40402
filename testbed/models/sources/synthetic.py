"""Random weights in the shape of real models."""

from pathlib import Path

from testbed.models import random_weights
from testbed.schema.network.model_source import ModelError, ModelSource


class Synthetic(ModelSource):
    """Random weights in a real model's shape, drawn on this host when they are first asked for."""

    form = "synthetic:NAME"
    local = False
    random = True

    def check(self, name: str) -> None:
        """A shape that there is."""
        _recipe(name)

    def locate(self, name: str) -> Path:
        """The file in the cache."""
        try:
            return _recipe(name).path()
        except OSError as error:
            raise ModelError(f"synthetic:{name} cannot be written: {error}") from error


def _recipe(name: str) -> random_weights.Recipe:
    if name not in random_weights.RECIPES:
        known = ", ".join(recipe.reference for recipe in random_weights.RECIPES.values())
        raise ModelError(f"synthetic:{name}: there is no such model; known are {known}")
    return random_weights.RECIPES[name]


SYNTHETIC = Synthetic()
