"""The schedules beside each other on four nodes: without delay and with 10 ms a link, and on slower nodes.

A node's cap acts in periods of 10 ms. A stage of a few milliseconds that has a whole period to itself, as in a ring
with one sample in flight, is done before its cap is felt; the same stage with no rest between is as slow as its cap. So
what compares one sample with several is measured on nodes with a tenth of a core as well, where a stage takes several
periods, and the links take next to nothing beside it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pipeline_table.decoding import decode
from pipeline_table.standing import CPUS, Setup, standing

NODES: Final = 4
SLOW: Final = 0.1
"""The CPU of slower nodes."""

_TOKENS: Final = 48


@dataclass(frozen=True)
class Contender:
    """A schedule, as ``options`` of the pattern; of so many ``samples`` it writes ``at_once``."""

    options: Mapping[str, Any]
    samples: int
    at_once: int
    delays: tuple[float, ...] = (0.01, 0.0)
    cpus: float = CPUS


_SEQUENTIAL: Final = Contender({"schedule": "sequential"}, 1, 1)
_RECURRENT: Final = Contender({"schedule": "recurrent"}, 16, NODES)

CONTENDERS: Final = (
    _SEQUENTIAL,
    _RECURRENT,
    Contender({"schedule": "microbatch", "samples": 16}, 16, 16),
    Contender({"schedule": "auto", "samples": 16}, 16, 16, delays=(0.01,)),
    Contender({"schedule": "auto", "samples": 8}, 8, 8, delays=(0.01,)),
    replace(_SEQUENTIAL, delays=(0.0,), cpus=SLOW),
    replace(_RECURRENT, delays=(0.0,), cpus=SLOW),
)


@dataclass(frozen=True)
class ScheduleResult:
    """Tokens/s of a ``schedule``, the links' bytes for each, and the seconds until the ring was ready."""

    schedule: str
    samples: int
    delay: float
    cpus: float
    rate: float
    bytes_per_token: float
    ready: float


def measure(quick: bool) -> Iterator[ScheduleResult]:
    """Each in a world of its own, in which the links are changed in place."""
    for one in CONTENDERS:
        setup = Setup.ring(NODES, one.options, delay=one.delays[0])
        with standing(replace(setup, cpus=one.cpus)) as world:
            decode(world, one.at_once, 16)
            for delay in one.delays:
                world.set_delay(delay)
                decoding = decode(world, one.samples, _TOKENS // (2 if quick else 1), one.at_once)
                yield ScheduleResult(
                    one.options["schedule"],
                    one.samples,
                    delay,
                    one.cpus,
                    decoding.rate,
                    decoding.bytes_per_token,
                    world.ready,
                )
