"""Device profiles: how much memory a real device has, and how fast it was seen to write."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel, TypeAdapter
from ruamel.yaml import YAML

from testbed.core.spec import Spec, matching
from testbed.core.units import Size
from testbed.schema.document import Document

DeviceName = Annotated[str, *matching("[a-z0-9][a-z0-9-]*", "small letters, digits and hyphens, like raspberry-pi-4")]


class Profile(Spec):
    """A real device, and how many tokens a second it wrote, one answer at a time, with a model of so many bytes."""

    cores: int = Field(ge=1, description="of its processor; for information")
    memory: Size
    model: str = Field(min_length=1, description="the model that it ran")
    weights: Size = Field(description="bytes of weights that it read for each token: the size of the model")
    tokens_per_second: float = Field(gt=0, allow_inf_nan=False)
    source: str = Field(min_length=1, description="where the numbers come from")

    def speed(self, weights: int) -> float:
        """Tokens a second that it writes with a model of so many bytes of weights for each token.

        To write a token all weights are read once, and on small devices that takes longer than computing with them.
        """
        return self.tokens_per_second * self.weights / weights


class Profiles(RootModel[dict[DeviceName, Profile]]):
    """A file of profiles."""


@cache
def known_profiles() -> dict[str, Profile]:
    """The profiles that come with the testbed, by name; ``devices.yaml`` says where their numbers are from."""
    text = (files("testbed.schema.network") / "devices.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Profile]).validate_python(YAML(typ="safe").load(text))


def profiles(own: Path | None) -> dict[str, Profile]:
    """All that may be named where the file ``own`` adds some, or replaces some; raises SpecError."""
    return known_profiles() | (Document.load(own).parse(Profiles).root if own is not None else {})
