"""The built-in models."""

from pathlib import Path

from testbed.models import zoo
from testbed.schema.network.model_source import ModelError, ModelSource


class Zoo(ModelSource):
    """Five models of two to seven million parameters, trained on facts of an invented world."""

    form = "zoo/NAME"

    def check(self, name: str) -> None:
        """Raises ModelError if there is no such model."""
        if name not in zoo.NAMES:
            known = ", ".join(f"zoo/{known}" for known in zoo.NAMES)
            raise ModelError(f"zoo/{name}: there is no such model; known are {known}")

    def find(self, name: str) -> Path:
        """The file in the package; raises ModelError if there is no such model."""
        self.check(name)
        return zoo.path(name)


ZOO = Zoo()
