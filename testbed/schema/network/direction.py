"""The properties of one direction of a link: in seconds, bit/s and bytes as the code has them, and as files write them.

A new property is a field of :class:`Direction` and a field of the same name of :class:`Properties`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.core.input_files import input_file
from testbed.core.spec import Spec
from testbed.core.units import BANDWIDTH, DELAY, DURATION, LINK_BANDWIDTH, PACKETS, SHARE, SIZE, Delay, Quantity, Share
from testbed.schema.network.link_table import LinkTable, is_table, read_table
from testbed.schema.network.link_trace import FRAME, LinkTrace, read_trace


@dataclass(frozen=True)
class Jitter:
    """The variation of the delay from frame to frame. It never changes the order of frames; ``reorder`` does.

    ``deviation`` is the standard deviation in seconds, for every distribution. ``correlation``, from 0 to below 1, is
    that between the delays of consecutive frames.
    """

    deviation: float = 0.0
    distribution: Literal["normal", "uniform", "pareto"] = "normal"
    correlation: float = 0.0


@dataclass(frozen=True)
class Loss:
    """A Gilbert-Elliott channel, which is in a good or a bad state. All values are probabilities for each frame.

    ``to_bad`` and ``to_good`` are those of a change of state, ``in_good`` and ``in_bad`` those of a loss in a state.
    With independent losses the channel is always good. (E. O. Elliott, Bell System Technical Journal 42, 1963.)
    """

    to_bad: float = 0.0
    to_good: float = 1.0
    in_good: float = 0.0
    in_bad: float = 1.0

    @property
    def mean(self) -> float:
        """The long-run share of frames that are lost, from 0 to 1."""
        bad = self.to_bad / (self.to_bad + self.to_good) if self.to_bad else 0.0
        return bad * self.in_bad + (1 - bad) * self.in_good


@dataclass(frozen=True)
class Queue:
    """The limit of a queue, in one of three units; ``seconds`` is the time to send what is queued."""

    packets: int | None = None
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Direction:
    """The properties of one direction of a link.

    A frame waits in ``queue`` until the frames before it have been sent. Sending takes its length divided by
    ``bandwidth`` (bit/s; None is unlimited) or the next opportunities of ``trace``. Then it travels for ``delay``
    seconds, varied by ``jitter``. ``duplicate``, ``reorder`` and ``corrupt`` are the probabilities that a frame arrives
    twice, skips the delay and so overtakes others, or arrives with one bit wrong. If ``cut``, every frame is lost.
    """

    bandwidth: float | None = None
    delay: float = 0.0
    jitter: Jitter = Jitter()
    loss: Loss = Loss()
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    queue: Queue | None = None
    trace: LinkTrace | None = None
    cut: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError if the jitter exceeds the delay."""
        if self.jitter.deviation > self.delay:
            jitter, delay = (DURATION.readable(seconds) for seconds in (self.jitter.deviation, self.delay))
            raise ValueError(
                f"a jitter of {jitter} is more than the delay of {delay}; the delay must be at least as long"
            )

    @property
    def rate(self) -> float:
        """Long-run bits per second; infinite without a limit."""
        return self.trace.rate if self.trace else self.bandwidth or math.inf

    @property
    def room(self) -> Queue:
        """The queue of the file, or else the default.

        The default is twice the bandwidth-delay product, so that one TCP connection can fill the link, and at least
        1,000 packets, Linux's default (txqueuelen).
        """
        if self.queue:
            return self.queue
        on_its_way = self.rate * self.delay / 8 / FRAME if math.isfinite(self.rate) else 0.0
        return Queue(packets=max(1000, math.ceil(2 * on_its_way)))

    def changed(self, said: Mapping[str, Any]) -> "Direction":
        """This direction with the properties in ``said``; raises ValueError if they do not fit the others."""
        return replace(self, **said)

    def dilated(self, factor: float) -> "Direction":
        """A copy in which everything takes ``factor`` times as long."""
        return replace(
            self,
            bandwidth=self.bandwidth and self.bandwidth / factor,
            delay=self.delay * factor,
            jitter=replace(self.jitter, deviation=self.jitter.deviation * factor),
            queue=self.queue and replace(self.queue, seconds=self.queue.seconds and self.queue.seconds * factor),
            trace=self.trace and self.trace.dilated(factor),
        )


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


def _limit(bandwidth: float) -> float | None:
    """A bandwidth of a file as :class:`Direction` has it."""
    return None if math.isinf(bandwidth) else bandwidth


_COLUMNS: Final[Mapping[str, Callable[[str], Any]]] = {
    "bandwidth": lambda written: _limit(_read_bandwidth(written)),
    "delay": DELAY.parse,
    "loss": lambda written: Loss(in_good=SHARE.parse(written)),
}
"""What reads the columns of a table, by field of :class:`Direction`."""


@cache
def read_recording(path: Path) -> LinkTrace | LinkTable:
    """The trace or the table in a file; raises ValueError that names the wrong line."""
    if not is_table(path):
        return read_trace(path)
    table = read_table(path, _COLUMNS)
    if "loss" in table.columns and table.at(0)["loss"].mean == 1:
        raise ValueError(f"{path} begins with a loss of 100%, so nodes could not find each other; let it begin later")
    return table


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
        None, description="file of delivery opportunities, in place of a bandwidth, or of a table of properties by time"
    )

    @field_validator("trace")
    @classmethod
    def _is_recording(cls, trace: str | None) -> str | None:
        if trace is not None:
            read_recording(Path(trace))
        return trace

    @model_validator(mode="after")
    def _check(self) -> "Properties":
        for name in self._recorded().keys() - {"trace", "table"}:
            if getattr(self, name) is not None:
                raise ValueError(f"`{name}` and a `trace` that says it exclude each other; leave one out")
        return self

    def said(self) -> dict[str, Any]:
        """The properties that are set here, by field of :class:`Direction`, and a ``table`` that they follow."""
        names = Properties.model_fields.keys() - {"trace"}
        said = {name: value for name in names if (value := getattr(self, name)) is not None}
        for name in said.keys() & {"jitter", "loss"}:
            said[name] = said[name].meant()
        if self.bandwidth is not None:
            said |= {"bandwidth": _limit(self.bandwidth), "trace": None}
        return said | self._recorded()

    def _recorded(self) -> dict[str, Any]:
        """What ``trace`` says; of a table, its first row. A bandwidth and a trace displace each other."""
        if self.trace is None:
            return {}
        recording = read_recording(Path(self.trace))
        if isinstance(recording, LinkTrace):
            return {"trace": recording, "bandwidth": None}
        return {"table": recording, **recording.at(0), **({"trace": None} if "bandwidth" in recording.columns else {})}


def merged(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What ``layers`` of properties say. Later ones replace earlier ones, and the columns of an earlier table."""
    said: dict[str, Any] = {}
    for layer in layers:
        if table := said.pop("table", None):
            said["table"] = table.without(layer.keys())
        said |= layer
    return said
