"""The properties of links in files and on command lines.

A property belongs to one direction. A file sets it for both directions or for one, on the link, in a preset or in the
defaults. The most specific place counts:

    defaults  <  the link's preset  <  the link's own keys  <  the preset and the keys of its `up` or `down`
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any, Final

from pydantic import Field, TypeAdapter, ValidationError, field_validator
from ruamel.yaml import YAML

from testbed.core.errors import Problem, SpecError
from testbed.schema.network.direction import Direction, Properties, merged
from testbed.schema.network.link import DirectionName
from testbed.schema.network.link_table import LinkTable
from testbed.schema.reading.document import read_value
from testbed.schema.reading.explain import dotted, explain

TABLE_OF_PLAY: Final = "a link follows a table from the beginning of play; name the table in the topology file"


class Preset(Properties):
    """Properties with a name; ``source`` says where their numbers come from."""

    source: str = Field(min_length=1)
    up: Properties = Properties()
    down: Properties = Properties()

    def layers(self, direction: DirectionName) -> Iterator[dict[str, Any]]:
        """First the defaults, since a preset sets every property; then those of both directions, then those of one."""
        yield {field.name: field.default for field in fields(Direction) if field.name != "cut"}
        yield self.said()
        yield getattr(self, direction).said()


class Shape(Properties):
    """A preset, properties that refine it, or both; for a link or one direction of it."""

    preset: str | None = Field(None, description="name of a set of properties, which the other keys refine")

    @field_validator("preset")
    @classmethod
    def _is_known(cls, preset: str | None) -> str | None:
        if preset is not None and preset not in presets():
            raise ValueError(f"there is no preset {preset!r}; known are {', '.join(presets())}")
        return preset

    def said_of(self, direction: DirectionName) -> dict[str, Any]:
        """The properties of one direction, by field of :class:`Direction`, and a ``table`` that they follow."""
        return merged(self.layers(direction))

    def layers(self, direction: DirectionName) -> Iterator[dict[str, Any]]:
        """First the preset, then the properties set here."""
        if self.preset is not None:
            yield from presets()[self.preset].layers(direction)
        yield self.said()


class TwoWayShape(Shape):
    """A shape for both directions, refined by ``up`` and ``down``. Up is from the first endpoint to the second."""

    up: Shape = Shape()
    down: Shape = Shape()

    def layers(self, direction: DirectionName) -> Iterator[dict[str, Any]]:
        """First the properties of both directions, then those of one."""
        yield from super().layers(direction)
        yield from getattr(self, direction).layers(direction)


def resolve_direction(direction: DirectionName, *shapes: Shape) -> Direction:
    """A direction from ``shapes``, of which later ones take precedence; raises ValueError if properties do not fit.

    Of a direction that follows a table, the properties of its first row.
    """
    said = _said_by(direction, shapes)
    table = said.pop("table", None)
    resolved = Direction(**said)
    for row in table.rows if table else ():
        resolved.changed(row)
    return resolved


def resolve_table(direction: DirectionName, *shapes: Shape) -> LinkTable | None:
    """The table that a direction from ``shapes`` follows, without the columns that they say otherwise."""
    return _said_by(direction, shapes).get("table")


def _said_by(direction: DirectionName, shapes: Iterable[Shape]) -> dict[str, Any]:
    return merged(chain.from_iterable(shape.layers(direction) for shape in shapes))


def read_shape(given: Mapping[str, str]) -> Shape:
    """A shape from options of a command line with YAML values; raises SpecError."""
    written = {key: read_value(f"--{key}", text) for key, text in given.items()}
    try:
        shape = Shape.model_validate(written)
    except ValidationError as error:
        mistakes = chain.from_iterable(explain(detail, Shape) for detail in error.errors())
        raise SpecError([Problem(f"--{dotted(loc[:1]) or 'trace'}", 0, message) for loc, message in mistakes]) from None
    if "table" in shape.said():
        raise SpecError.of("--trace", TABLE_OF_PLAY)
    return shape


@cache
def presets() -> dict[str, Preset]:
    """The built-in presets by name, from ``presets.yaml``."""
    text = (files("testbed.schema.network") / "presets.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Preset]).validate_python(YAML(typ="safe").load(text))
