"""The built-in models."""

from pathlib import Path

from testbed.models import zoo
from testbed.schema.network.model_source import ModelError, ModelSource


class Zoo(ModelSource):
    """Four models of two million parameters each, trained on facts of an invented world."""

    form = "zoo/NAME"

    def locate(self, name: str) -> Path:
        """The file in the package; raises ModelError if there is no such model."""
        if name not in zoo.NAMES:
            known = ", ".join(f"zoo/{known}" for known in zoo.NAMES)
            raise ModelError(f"zoo/{name}: there is no such model; known are {known}")
        return zoo.path(name)


ZOO = Zoo()
