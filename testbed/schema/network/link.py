"""Links in the code: every property of both directions, in seconds, bits per second and bytes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from testbed.core.units import DURATION
from testbed.schema.link_names import link_name
from testbed.schema.network.link_trace import FRAME, LinkTrace

DirectionName = Literal["up", "down"]
DIRECTIONS: Final[tuple[DirectionName, DirectionName]] = ("up", "down")
"""Up is from a link's first endpoint to its second, down is back."""


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


@dataclass(frozen=True)
class Link:
    """A link with all its properties; ``up`` is from ``a`` to ``b``.

    ``number`` counts the links that are written with the same two ends in the same order, from 1.
    """

    a: str
    b: str
    up: Direction
    down: Direction
    number: int = 1

    @property
    def name(self) -> str:
        """The link's name, from its ends: ``a-s1``, and ``a-s1#2`` of a second one."""
        return link_name(self.a, self.b, self.number)

    def direction(self, direction: DirectionName) -> Direction:
        """The direction of that name."""
        return self.up if direction == "up" else self.down

    def changed(self, said: Mapping[DirectionName, Mapping[str, Any]]) -> "Link":
        """This link with the properties in ``said``, by direction; raises ValueError if they do not fit."""
        up, down = (self.direction(direction).changed(said.get(direction, {})) for direction in DIRECTIONS)
        return replace(self, up=up, down=down)

    def dilated(self, factor: float) -> "Link":
        """A copy in which everything takes ``factor`` times as long."""
        return replace(self, up=self.up.dilated(factor), down=self.down.dilated(factor))
