"""What links were asked to be, beside what they were measured to be; and how far off they may be.

Per direction: the delay of a small frame, and where that varies its jitter; the rate; the share of frames lost.
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
from testbed.schema.network.link import Direction, DirectionName, Link, Loss
from testbed.world.network.probe import SMALL_FRAME, Observation, train_over

# Beyond the first a direction is distorted, beyond the second it is not the one that was asked for. Both backends keep
# delays to 0.2 ms and rates to 0.1 % on an idle host, and the tolerances leave room for what that varies from host to
# host; the conformance tests of the links allow half a millisecond, too.
_DELAY_OFF: Final = ((0.001, 0.05), (0.025, 0.5))  # seconds and share of the delay, the larger of which counts
_RATE_OFF: Final = (0.05, 0.5)  # share of the rate
_LOSS_OFF: Final = (1e-6, 0.25)  # share of frames; the first stands for none, but for rounding
_JITTER_OFF: Final = (1.5, 0.001)  # factor, and seconds

# A run judges dozens of losses and means. With intervals of 95 % nearly every run would have one that is off by chance.
_CONFIDENCE: Final = 0.9999
_DEVIATIONS: Final = 4.0  # that hold this confidence
_ENOUGH_FOR_JITTER: Final = 100  # independent frames: then the deviation is known to a few parts in ten

Severity = Literal["distorted", "invalid"]


@dataclass(frozen=True)
class Figures:
    """One direction of a link; None where there is nothing to say.

    ``delay`` in seconds is that of a frame of :data:`SMALL_FRAME` bytes from end to end, the time to send it included:
    the median, or the mean where it varies on purpose. ``jitter`` is its standard deviation in seconds, ``rate`` in
    bits per second, ``loss`` a share of frames.
    """

    delay: float | None = None
    jitter: float | None = None
    rate: float | None = None
    loss: float | None = None

    @classmethod
    def asked(cls, direction: Direction) -> "Figures":
        """What the properties of a direction come to."""
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
        """What ``observation`` of a direction comes to."""
        delays, centre = observation.delays, fmean if _spread(direction) else median
        return cls(
            delay=centre(delays) if delays else None,
            jitter=stdev(delays) if len(delays) > 1 else None,
            rate=median(observation.rates) if observation.rates else None,
            loss=1 - observation.received / observation.sent,
        )


Seen = Mapping[Link, Mapping[DirectionName, Observation]]
"""Links as they were asked to be at the time, and what was seen of both of their directions."""


def judge_links(seen: Seen, when: str) -> Iterator[Flaw]:
    """What was not as asked when it was measured: ``before play``, say."""
    for link, directions in seen.items():
        for direction, observation in directions.items():
            for flaw in judge_direction(link.direction(direction), observation):
                yield Flaw(flaw.verdict, f"link {link.name} {direction}: {flaw.reason} {when}")


def judge_direction(direction: Direction, observation: Observation) -> Iterator[Flaw]:
    """What was not as asked of one direction."""
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
    """One direction of a link beside what was seen of it: how far off is each property, if it can be told?"""

    direction: Direction
    observation: Observation

    @cached_property
    def asked(self) -> Figures:
        """What should have been measured."""
        return Figures.asked(self.direction)

    @cached_property
    def measured(self) -> Figures:
        """What was measured."""
        return Figures.measured(self.direction, self.observation)

    def delay(self) -> Severity | None:
        """Of a link with a trace only whether it is too short: a frame may have to wait for the next opportunity."""
        asked, measured = self.asked.delay, self.measured.delay
        if asked is None or measured is None or (self.direction.trace and measured > asked):
            return None
        chance = _DEVIATIONS * _spread(self.direction) / math.sqrt(self._independent_delays)
        distorted, invalid = (max(seconds, share * asked) + chance for seconds, share in _DELAY_OFF)
        return _severity(abs(measured - asked), distorted, invalid)

    def jitter(self) -> Severity | None:
        """Of links on which nothing else varies the delay, and where enough frames were sent to tell."""
        asked, measured = self.asked.jitter, self.measured.jitter
        disturbed = self.direction.reorder or self.direction.trace or self._independent_delays < _ENOUGH_FOR_JITTER
        if not asked or measured is None or disturbed:
            return None
        factor, seconds = _JITTER_OFF
        small, large = sorted((asked, measured))
        return "distorted" if large > factor * small and large - small > seconds else None

    def rate(self) -> Severity | None:
        """A frame that is lost, and the copy of one that comes twice, may or may not have taken time on the link."""
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
        """A frame with a bit wrong where it says whose it is cannot be told from one that was lost.

        On a link with a trace neither can one that still waits for its opportunity.
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
        """How many independent delays say as much as those that were seen, of which each depends on the one before.

        The variance of a first-order autoregressive series' mean is (1 + r) / (1 - r) times that of independent values.
        """
        correlation = self.direction.jitter.correlation
        return max(1.0, len(self.observation.delays) * (1 - correlation) / (1 + correlation))


def _severity(off: float, distorted: float, invalid: float) -> Severity | None:
    if off > invalid:
        return "invalid"
    return "distorted" if off > distorted else None


def _spread(direction: Direction) -> float:
    """The standard deviation that was asked of the delay: by jitter, and by frames that skip the delay."""
    skips = direction.reorder * (1 - direction.reorder) * direction.delay**2
    return math.sqrt(direction.jitter.deviation**2 + skips)


def _share_independent(loss: Loss) -> float:
    """How many independent losses say as much as one of ``loss``, whose channel remembers its state.

    That correlates from frame to frame with 1 - to_bad - to_good.
    """
    correlation = max(0.0, 1 - loss.to_bad - loss.to_good) if loss.to_bad else 0.0
    return (1 - correlation) / (1 + correlation)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def as_figures(before: Seen, after: Seen) -> dict[str, Any]:
    """For ``summary.json``: of each link and direction what was asked and what was measured, before and after play.

    ``rtt`` is the sum of both directions' delays. Where a property was changed, it is asked what it was changed to.
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
