"""The schedules beside each other on four nodes: without delay and with 10 ms a link, and in slow motion.

A node's cap acts in periods of 10 ms. A stage of a few milliseconds that has a whole period to itself, as in a ring
with one sample in flight, is done before its cap is felt; the same stage with no rest between is as slow as its cap. So
what compares one sample with several is measured in slow motion as well, where a stage outlasts a period.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pipeline_table.decoding import decode
from pipeline_table.standing import Setup, standing

NODES: Final = 4
SLOW_MOTION: Final = 4.0

_TOKENS: Final = 48


@dataclass(frozen=True)
class Contender:
    """A schedule, as ``options`` of the pattern; of so many ``samples`` it writes ``at_once``."""

    options: Mapping[str, Any]
    samples: int
    at_once: int
    delays: tuple[float, ...] = (0.01, 0.0)
    dilation: float = 1.0


_SEQUENTIAL: Final = Contender({"schedule": "sequential"}, 1, 1)
_RECURRENT: Final = Contender({"schedule": "recurrent"}, 16, NODES)

CONTENDERS: Final = (
    _SEQUENTIAL,
    _RECURRENT,
    Contender({"schedule": "microbatch", "samples": 16}, 16, 16),
    Contender({"schedule": "auto", "samples": 16}, 16, 16, delays=(0.01,)),
    Contender({"schedule": "auto", "samples": 8}, 8, 8, delays=(0.01,)),
    replace(_SEQUENTIAL, delays=(0.0,), dilation=SLOW_MOTION),
    replace(_RECURRENT, delays=(0.0,), dilation=SLOW_MOTION),
)


@dataclass(frozen=True)
class ScheduleResult:
    """Tokens/s of a ``schedule``, the links' bytes for each, and the seconds until the ring was ready."""

    schedule: str
    samples: int
    delay: float
    dilation: float
    rate: float
    bytes_per_token: float
    ready: float


def measure(quick: bool) -> Iterator[ScheduleResult]:
    """Each in a world of its own, in which the links are changed in place."""
    for one in CONTENDERS:
        setup = Setup.ring(NODES, one.options, delay=one.delays[0])
        with standing(replace(setup, dilation=one.dilation)) as world:
            decode(world, one.at_once, 16)
            for delay in one.delays:
                world.set_delay(delay)
                decoding = decode(world, one.samples, _TOKENS // (2 if quick else 1), one.at_once)
                yield ScheduleResult(
                    one.options["schedule"],
                    one.samples,
                    delay,
                    one.dilation,
                    decoding.rate,
                    decoding.bytes_per_token,
                    world.ready,
                )
