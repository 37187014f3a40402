"""What a link is, as the code holds it: every property of each direction, in seconds, bits per second and bytes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from testbed.core.units import DURATION
from testbed.schema.network.link_trace import FRAME, LinkTrace

DirectionName = Literal["up", "down"]
DIRECTIONS: Final[tuple[DirectionName, DirectionName]] = ("up", "down")
"""Up is from a link's first endpoint to its second."""


@dataclass(frozen=True)
class Jitter:
    """How the delay varies from frame to frame: never so that one overtakes another, which is ``reorder``.

    ``deviation`` is its standard deviation in seconds, whatever the distribution. ``correlation`` (0 to below 1) is
    that between one frame's delay and the next one's.
    """

    deviation: float = 0.0
    distribution: Literal["normal", "uniform", "pareto"] = "normal"
    correlation: float = 0.0


@dataclass(frozen=True)
class Loss:
    """Gilbert and Elliott's channel, which is good or bad: all four are probabilities, of a frame.

    ``to_bad`` and ``to_good`` are those of leaving a state, ``in_good`` and ``in_bad`` those of being lost in it.
    Independent losses are a channel that is always good. (E. O. Elliott, Bell System Technical Journal 42, 1963.)
    """

    to_bad: float = 0.0
    to_good: float = 1.0
    in_good: float = 0.0
    in_bad: float = 1.0

    @property
    def mean(self) -> float:
        """The share of frames that is lost in the long run."""
        bad = self.to_bad / (self.to_bad + self.to_good) if self.to_bad else 0.0
        return bad * self.in_bad + (1 - bad) * self.in_good


@dataclass(frozen=True)
class Queue:
    """How much may wait for a link to become free: so many packets, or bytes, or as much as is sent in ``seconds``."""

    packets: int | None = None
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Direction:
    """One direction of a link.

    A frame waits in ``queue`` until those before it have been sent, takes its length divided by ``bandwidth`` (bit/s;
    None: as fast as the host) or the next opportunities of ``trace``, and then ``delay`` seconds, varied by ``jitter``.
    ``duplicate``, ``reorder`` and ``corrupt`` are probabilities, of a frame: to arrive twice, to skip the delay and so
    overtake what is on its way, to arrive with one bit wrong. A direction that is ``cut`` loses every frame.
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
        """Raises ValueError where the properties do not fit each other."""
        if self.jitter.deviation > self.delay:
            jitter, delay = (DURATION.readable(seconds) for seconds in (self.jitter.deviation, self.delay))
            raise ValueError(
                f"a jitter of {jitter} is more than the delay of {delay}; the delay must be at least as long"
            )

    @property
    def rate(self) -> float:
        """Bits per second that it carries in the long run; infinite where nothing limits it."""
        return self.trace.rate if self.trace else self.bandwidth or math.inf

    @property
    def room(self) -> Queue:
        """The queue that was asked for, or else the usual one.

        That is twice what is on its way at full rate, so that one TCP connection can fill the link, and no less than
        the 1,000 packets of Linux's own default (txqueuelen).
        """
        if self.queue:
            return self.queue
        on_its_way = self.rate * self.delay / 8 / FRAME if math.isfinite(self.rate) else 0.0
        return Queue(packets=max(1000, math.ceil(2 * on_its_way)))

    def changed(self, said: Mapping[str, Any]) -> "Direction":
        """The same with the properties that are ``said``; raises ValueError if they do not fit the others."""
        return replace(self, **said)

    def dilated(self, factor: float) -> "Direction":
        """The same where everything takes ``factor`` times as long."""
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
    """A link with everything said; ``up`` is from ``a`` to ``b``."""

    a: str
    b: str
    up: Direction
    down: Direction

    @property
    def name(self) -> str:
        """``a-s1``"""
        return f"{self.a}-{self.b}"

    def direction(self, direction: DirectionName) -> Direction:
        """One of the two."""
        return self.up if direction == "up" else self.down

    def changed(self, said: Mapping[DirectionName, Mapping[str, Any]]) -> "Link":
        """The same with the properties that are ``said`` of its directions; raises ValueError if they do not fit."""
        up, down = (self.direction(direction).changed(said.get(direction, {})) for direction in DIRECTIONS)
        return replace(self, up=up, down=down)

    def dilated(self, factor: float) -> "Link":
        """The same where everything takes ``factor`` times as long."""
        return replace(self, up=self.up.dilated(factor), down=self.down.dilated(factor))
