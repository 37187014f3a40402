"""Random weights in the shape of real models."""

from pathlib import Path

from testbed.models import synthetic
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


def _recipe(name: str) -> synthetic.Recipe:
    if name not in synthetic.RECIPES:
        known = ", ".join(recipe.reference for recipe in synthetic.RECIPES.values())
        raise ModelError(f"synthetic:{name}: there is no such model; known are {known}")
    return synthetic.RECIPES[name]


SYNTHETIC = Synthetic()
