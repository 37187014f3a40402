"""The properties of links as asked and as measured, and the tolerances between the two.

Per direction: the delay of a small frame, its jitter if the delay varies, the rate, and the share of frames lost.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import fmean, median, stdev
from typing import Any, Final, Literal

from testbed.analysis.distributions import wilson_interval
from testbed.analysis.verdict.fidelity import Flaw
from testbed.core.units import BANDWIDTH
from testbed.schema.network.direction import Direction, Loss
from testbed.schema.network.link import DirectionName, Link
from testbed.world.network.probe import SMALL_FRAME, Observation, train_over

# Beyond the first value a direction is distorted, beyond the second invalid. Both backends keep delays to 0.2 ms and
# rates to 0.1 % on an idle host; the tolerances leave room for differences between hosts.
_DELAY_OFF: Final = ((0.001, 0.05), (0.025, 0.5))  # seconds and share of the delay; the larger one counts
_RATE_OFF: Final = (0.05, 0.5)  # share of the rate
_LOSS_OFF: Final = (1e-6, 0.25)  # share of frames; the first is 0 but for rounding
_JITTER_OFF: Final = (1.5, 0.001)  # factor, and seconds

# A run judges dozens of losses and means. With intervals of 95 %, chance alone would put one off in nearly every run.
_CONFIDENCE: Final = 0.9999
_DEVIATIONS: Final = 4.0  # standard deviations of that confidence
_ENOUGH_FOR_JITTER: Final = 100  # independent frames, from which the deviation is known to 20 or 30 %

Severity = Literal["distorted", "invalid"]


@dataclass(frozen=True)
class Figures:
    """The properties of one direction of a link; None if unknown.

    ``delay`` is that of a frame of :data:`SMALL_FRAME` bytes from end to end in seconds, transmission included: the
    median, or the mean if it varies on purpose. ``jitter`` is the standard deviation of the delay in seconds, ``rate``
    is in bits per second, ``loss`` is a share of frames.
    """

    delay: float | None = None
    jitter: float | None = None
    rate: float | None = None
    loss: float | None = None

    @classmethod
    def asked(cls, direction: Direction) -> "Figures":
        """The figures that follow from a direction's properties."""
        if direction.cut:
            return cls(loss=1.0)
        sending = SMALL_FRAME * 8 / direction.bandwidth if direction.bandwidth else 0.0
        return cls(
            delay=direction.delay * (1 - direction.reorder) + sending,
            jitter=direction.jitter.deviation,
            rate=direction.bandwidth,
            loss=direction.loss.mean,
        )

    @classmethod
    def measured(cls, direction: Direction, observation: Observation) -> "Figures":
        """The figures that follow from an observation of a direction."""
        delays, centre = observation.delays, fmean if _spread(direction) else median
        return cls(
            delay=centre(delays) if delays else None,
            jitter=stdev(delays) if len(delays) > 1 else None,
            rate=median(observation.rates) if observation.rates else None,
            loss=1 - observation.received / observation.sent,
        )


Seen = Mapping[Link, Mapping[DirectionName, Observation]]
"""Links with their properties at the time of measuring, and the observations of both directions."""


def judge_links(seen: Seen, when: str) -> Iterator[Flaw]:
    """The flaws of all links; ``when`` they were measured ends the sentences, like ``before play``."""
    for link, directions in seen.items():
        for direction, observation in directions.items():
            for flaw in judge_direction(link.direction(direction), observation):
                yield Flaw(flaw.verdict, f"link {link.name} {direction}: {flaw.reason} {when}")


def judge_direction(direction: Direction, observation: Observation) -> Iterator[Flaw]:
    """The flaws of one direction."""
    seen = MeasuredDirection(direction, observation)
    asked, measured = seen.asked, seen.measured
    for what, severity, readable in (
        ("delay", seen.delay(), _milliseconds),
        ("jitter", seen.jitter(), _milliseconds),
        ("rate", seen.rate(), BANDWIDTH.readable),
        ("loss", seen.loss(), "{:.2%}".format),
    ):
        if severity is not None:
            wanted, had = readable(getattr(asked, what)), readable(getattr(measured, what))
            yield Flaw(severity, f"{what} asked {wanted}, measured {had}")


@dataclass(frozen=True)
class MeasuredDirection:
    """One direction of a link and an observation of it. Each property has a severity, None if it is not judged."""

    direction: Direction
    observation: Observation

    @cached_property
    def asked(self) -> Figures:
        """The figures of an ideal link."""
        return Figures.asked(self.direction)

    @cached_property
    def measured(self) -> Figures:
        """The figures that were measured."""
        return Figures.measured(self.direction, self.observation)

    def delay(self) -> Severity | None:
        """With a trace, only a delay that is too short is a flaw: frames wait for the next delivery opportunity."""
        asked, measured = self.asked.delay, self.measured.delay
        if asked is None or measured is None or (self.direction.trace and measured > asked):
            return None
        chance = _DEVIATIONS * _spread(self.direction) / math.sqrt(self._independent_delays)
        distorted, invalid = (max(seconds, share * asked) + chance for seconds, share in _DELAY_OFF)
        return _severity(abs(measured - asked), distorted, invalid)

    def jitter(self) -> Severity | None:
        """Judged if nothing else varies the delay, and enough frames were sent."""
        asked, measured = self.asked.jitter, self.measured.jitter
        disturbed = self.direction.reorder or self.direction.trace or self._independent_delays < _ENOUGH_FOR_JITTER
        if not asked or measured is None or disturbed:
            return None
        factor, seconds = _JITTER_OFF
        small, large = sorted((asked, measured))
        return "distorted" if large > factor * small and large - small > seconds else None

    def rate(self) -> Severity | None:
        """Lost frames and duplicates can take time on the link, so both are allowed for."""
        asked, measured, train = self.asked.rate, self.measured.rate, train_over(self.direction)
        if asked is None or measured is None or train is None:
            return None
        least = asked * (1 - self.direction.loss.mean) / (1 + self.direction.duplicate)
        off = max(measured - asked, least - measured) / asked
        seconds = train.frames * train.length * 8 / asked
        chance = _DEVIATIONS * self.direction.jitter.deviation / seconds
        distorted, invalid = _RATE_OFF
        return _severity(off, distorted + chance, invalid + chance)

    def loss(self) -> Severity | None:
        """A frame that was corrupted in its header counts as lost, so the corrupted share is allowed for.

        With a trace, a frame that still waits cannot be told from a lost one, and loss is not judged.
        """
        asked, measured = self.asked.loss, self.measured.loss
        if asked is None or measured is None or self.direction.trace:
            return None
        frames = self.observation.sent * _share_independent(self.direction.loss)
        interval = wilson_interval(round(measured * frames), max(1, round(frames)), _CONFIDENCE)
        low, high = interval or (0.0, 1.0)
        return _severity(max(low - asked - self.direction.corrupt, asked - high), *_LOSS_OFF)

    @property
    def _independent_delays(self) -> float:
        """The effective sample size of the delays, which are a first-order autoregressive series.

        The variance of its mean is (1 + r) / (1 - r) times that of independent values, with r the correlation.
        """
        correlation = self.direction.jitter.correlation
        return max(1.0, len(self.observation.delays) * (1 - correlation) / (1 + correlation))


def _severity(off: float, distorted: float, invalid: float) -> Severity | None:
    if off > invalid:
        return "invalid"
    return "distorted" if off > distorted else None


def _spread(direction: Direction) -> float:
    """The standard deviation of the delay as asked, from jitter and from reordering, whose frames skip the delay."""
    skips = direction.reorder * (1 - direction.reorder) * direction.delay**2
    return math.sqrt(direction.jitter.deviation**2 + skips)


def _share_independent(loss: Loss) -> float:
    """The effective sample size of one frame's loss, since bursts correlate losses.

    The correlation from frame to frame is 1 - to_bad - to_good.
    """
    correlation = max(0.0, 1 - loss.to_bad - loss.to_good) if loss.to_bad else 0.0
    return (1 - correlation) / (1 + correlation)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def as_figures(before: Seen, after: Seen) -> dict[str, Any]:
    """For ``summary.json``: the figures of each link and direction, as asked and as measured before and after play.

    ``rtt`` is the sum of both directions' delays. For a property that was changed during play, ``asked`` has the last
    value.
    """
    figures: dict[str, Any] = {}
    for moment, seen in (("before", before), ("after", after)):
        for link, directions in seen.items():
            of_link = figures.setdefault(link.name, {"rtt": {}, "up": {}, "down": {}})
            for name, observation in directions.items():
                direction = link.direction(name)
                of_link[name]["asked"] = asdict(Figures.asked(direction))
                of_link[name][moment] = asdict(Figures.measured(direction, observation))
            for side in ("asked", moment):
                of_link["rtt"][side] = _sum(of_link[direction][side]["delay"] for direction in ("up", "down"))
    return figures


def _sum(delays: Iterator[float | None]) -> float | None:
    known = [delay for delay in delays if delay is not None]
    return sum(known) if len(known) == 2 else None
