"""Device profiles: the memory of a real device and its measured speed of decoding."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel, TypeAdapter
from ruamel.yaml import YAML

from testbed.core.spec import Spec, matching
from testbed.core.units import Size
from testbed.schema.reading.document import Document

DeviceName = Annotated[str, *matching("[a-z0-9][a-z0-9-]*", "small letters, digits and hyphens, like raspberry-pi-4")]


class Profile(Spec):
    """A real device and its measured decoding speed at batch size 1 with a model of known size."""

    cores: int = Field(ge=1, description="of its processor; for information")
    memory: Size
    model: str = Field(min_length=1, description="the model that it ran")
    weights: Size = Field(description="bytes of weights that it read for each token: the size of the model")
    tokens_per_second: float = Field(gt=0, allow_inf_nan=False)
    source: str = Field(min_length=1, description="where the numbers come from")

    def speed(self, weights: int) -> float:
        """Tokens per second with a model that has ``weights`` bytes.

        Each token reads all weights once. On small devices memory bandwidth limits decoding, so speed is inversely
        proportional to size.
        """
        return self.tokens_per_second * self.weights / weights


class Profiles(RootModel[dict[DeviceName, Profile]]):
    """A file of device profiles, by name."""


@cache
def known_profiles() -> dict[str, Profile]:
    """The built-in profiles by name, from ``devices.yaml``."""
    text = (files("testbed.schema.network") / "devices.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Profile]).validate_python(YAML(typ="safe").load(text))


def profiles(own: Path | None) -> dict[str, Profile]:
    """The built-in profiles and those of the file ``own``, which take precedence; raises SpecError."""
    return known_profiles() | (Document.load(own).parse(Profiles).root if own is not None else {})
