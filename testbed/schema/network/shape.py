"""The properties of links in files and on command lines.

A property belongs to one direction. A file sets it for both directions or for one, on the link, in a preset or in the
defaults. The most specific place counts:

    defaults  <  the link's preset  <  the link's own keys  <  the preset and the keys of its `up` or `down`
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from ruamel.yaml import YAML

from testbed.core.errors import Problem, SpecError
from testbed.core.input_files import input_file
from testbed.core.spec import Spec
from testbed.core.units import BANDWIDTH, DURATION, LINK_BANDWIDTH, PACKETS, SIZE, Delay, Quantity, Share
from testbed.schema.network.link import Direction, DirectionName, Jitter, Loss, Queue
from testbed.schema.network.link_trace import read_trace
from testbed.schema.reading.document import read_value
from testbed.schema.reading.explain import dotted, explain

_UNLIMITED = "unlimited"


def _read_bandwidth(written: object) -> float:
    return math.inf if written == _UNLIMITED else LINK_BANDWIDTH.parse(written)


def _write_bandwidth(bandwidth: float) -> str:
    return _UNLIMITED if math.isinf(bandwidth) else BANDWIDTH.format(bandwidth)


def _read_queue(written: object) -> Queue:
    if _has_unit_of(PACKETS, written) and (packets := PACKETS.parse(written)).is_integer():
        return Queue(packets=int(packets))
    if _has_unit_of(SIZE, written):
        return Queue(bytes=round(SIZE.parse(written)))
    if _has_unit_of(DURATION, written) and (seconds := DURATION.parse(written)) > 0:
        return Queue(seconds=seconds)
    examples = ", ".join(quantity.example for quantity in (PACKETS, SIZE, DURATION))
    raise ValueError(f"{written!r} is no queue; write it in whole packets, bytes or time above zero: {examples}")


def _has_unit_of(quantity: Quantity, written: object) -> bool:
    return any(str(written).strip().endswith(unit) for unit in quantity.units)


def _write_queue(queue: Queue) -> str:
    if queue.packets is not None:
        return PACKETS.format(queue.packets)
    return SIZE.format(queue.bytes) if queue.bytes is not None else DURATION.format(queue.seconds or 0.0)


class Entry(Spec):
    """A property with several fields. A value without keys sets the first field."""

    @model_validator(mode="before")
    @classmethod
    def _read_word(cls, written: object) -> object:
        return written if isinstance(written, dict | BaseModel) else {next(iter(cls.model_fields)): written}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "string"}]}


class JitterEntry(Entry):
    """Jitter in a file: ``5ms``, or keys and values."""

    deviation: Delay = Field(description="standard deviation of the delay")
    distribution: Literal["normal", "uniform", "pareto"] = "normal"
    correlation: Share = Field(0.0, lt=1, description="between the delays of one frame and the next")

    def meant(self) -> Jitter:
        """The jitter, in seconds."""
        return Jitter(self.deviation, self.distribution, self.correlation)


class LossEntry(Entry):
    """Loss in a file: ``0.1%``, or a Gilbert-Elliott channel that alternates between a good and a bad state."""

    in_good: Share = Field(0.0, description="share of frames that the good channel loses")
    in_bad: Share = Field(1.0, description="share of frames that the bad channel loses")
    to_bad: Share = Field(0.0, description="probability, at each frame, that the good channel turns bad")
    to_good: Share = Field(1.0, gt=0, description="probability, at each frame, that the bad channel turns good")

    def meant(self) -> Loss:
        """The loss process that the written values describe."""
        return Loss(self.to_bad, self.to_good, self.in_good, self.in_bad)


class Properties(Spec):
    """Properties of a link. A property that is None here comes from the next less specific place."""

    bandwidth: (
        Annotated[
            float,
            BeforeValidator(_read_bandwidth),
            PlainSerializer(_write_bandwidth),
            WithJsonSchema({"type": "string", "examples": ["10mbit", _UNLIMITED]}),
        ]
        | None
    ) = None
    delay: Delay | None = None
    jitter: JitterEntry | None = None
    loss: LossEntry | None = None
    duplicate: Share | None = None
    reorder: Share | None = Field(None, description="share of frames that skip the delay")
    corrupt: Share | None = Field(None, description="share of frames that arrive with one bit wrong")
    queue: (
        Annotated[
            Queue,
            BeforeValidator(_read_queue),
            PlainSerializer(_write_queue),
            WithJsonSchema({"type": "string", "examples": ["100packets", "64KiB", "50ms"]}),
        ]
        | None
    ) = None
    trace: Annotated[str, input_file("topology")] | None = Field(
        None, description="file of delivery opportunities, in place of a bandwidth"
    )

    @field_validator("trace")
    @classmethod
    def _is_trace(cls, trace: str | None) -> str | None:
        if trace is not None:
            read_trace(Path(trace))
        return trace

    @model_validator(mode="after")
    def _check(self) -> "Properties":
        if self.bandwidth is not None and self.trace is not None:
            raise ValueError("`bandwidth` and `trace` exclude each other; leave one out")
        return self

    def said(self) -> dict[str, Any]:
        """The properties that are set here, by field of :class:`Direction`."""
        said = {key: value for key in Properties.model_fields if (value := getattr(self, key)) is not None}
        for key in said.keys() & {"jitter", "loss"}:
            said[key] = said[key].meant()
        if self.trace is not None:
            said |= {"trace": read_trace(Path(self.trace)), "bandwidth": None}
        if self.bandwidth is not None:
            said |= {"bandwidth": None if math.isinf(self.bandwidth) else self.bandwidth, "trace": None}
        return said


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
        """The properties of one direction, by field of :class:`Direction`. Later layers replace earlier ones."""
        said: dict[str, Any] = {}
        for layer in self.layers(direction):
            said |= layer
        return said

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
    """A direction from ``shapes``, of which later ones take precedence; raises ValueError if properties do not fit."""
    said: dict[str, Any] = {}
    for shape in shapes:
        said |= shape.said_of(direction)
    return Direction(**said)


def read_shape(given: Mapping[str, str]) -> Shape:
    """A shape from options of a command line with YAML values; raises SpecError."""
    written = {key: read_value(f"--{key}", text) for key, text in given.items()}
    try:
        return Shape.model_validate(written)
    except ValidationError as error:
        mistakes = chain.from_iterable(explain(detail, Shape) for detail in error.errors())
        raise SpecError([Problem(f"--{dotted(loc[:1]) or 'trace'}", 0, message) for loc, message in mistakes]) from None


@cache
def presets() -> dict[str, Preset]:
    """The built-in presets by name, from ``presets.yaml``."""
    text = (files("testbed.schema.network") / "presets.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Preset]).validate_python(YAML(typ="safe").load(text))
