"""A comparison of schedules on four nodes: without delay, with 10 ms on each link, and with a larger model.

A CPU cap acts in periods of 10 ms. With one sample in flight, a stage of a few milliseconds ends before its cap acts.
The same stage without idle time is as slow as its cap. So one sample and several are also compared with a model of 1.1
billion parameters on nodes with 0.1 cores, where a stage takes many periods and the links' time is negligible.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pipeline_table.decoding import decode
from pipeline_table.standing import CPUS, Setup, standing

NODES: Final = 4
LARGE: Final = "synthetic:tinyllama-1.1b-q4_0"
SLOW: Final = 0.1
"""Cores of each node that holds it."""

_TOKENS: Final = 48  # of each sample
_FEWER: Final = 16  # of those of the large model


@dataclass(frozen=True)
class Contender:
    """A schedule, given as ``options`` of the pattern, with ``at_once`` of ``samples`` samples in flight."""

    options: Mapping[str, str | int]
    samples: int
    at_once: int
    delays: tuple[float, ...] = (0.01, 0.0)
    cpus: float = CPUS
    model: str | None = None  # the benchmark's own
    tokens: int = _TOKENS

    @property
    def setup(self) -> Setup:
        """The nodes and links that the schedule runs on."""
        ring = Setup.ring(NODES, self.options, delay=self.delays[0])
        return replace(ring, cpus=self.cpus, model=self.model)


_SEQUENTIAL: Final = Contender({"schedule": "sequential"}, 1, 1)
_RECURRENT: Final = Contender({"schedule": "recurrent"}, 16, NODES)

CONTENDERS: Final = (
    _SEQUENTIAL,
    _RECURRENT,
    Contender({"schedule": "microbatch", "samples": 16}, 16, 16),
    Contender({"schedule": "microbatch", "samples": 16, "groups": 8}, 16, 16),
    Contender({"schedule": "microbatch", "samples": 16, "groups": 8, "activations": "f16"}, 16, 16, delays=(0.01,)),
    Contender({"schedule": "auto", "samples": 16}, 16, 16, delays=(0.01,)),
    Contender({"schedule": "auto", "samples": 8}, 8, 8, delays=(0.01,)),
    replace(_SEQUENTIAL, delays=(0.0,), cpus=SLOW, model=LARGE, tokens=_FEWER),
    replace(_RECURRENT, samples=NODES, delays=(0.0,), cpus=SLOW, model=LARGE, tokens=_FEWER),
)


@dataclass(frozen=True)
class ScheduleResult:
    """Tokens/s of a schedule, as it was asked for, the links' bytes for each, and seconds until the ring was ready."""

    options: dict[str, str | int]
    samples: int
    delay: float
    cpus: float
    rate: float
    bytes_per_token: float
    ready: float

    @property
    def name(self) -> str:
        """The schedule's options without the number of samples."""
        return ", ".join(
            str(value) if key == "schedule" else f"{key} {value}"
            for key, value in self.options.items()
            if key != "samples"
        )


def measure(quick: bool) -> Iterator[ScheduleResult]:
    """The results, with a world for each schedule, whose links are changed in place."""
    for one in CONTENDERS:
        with standing(one.setup) as world:
            decode(world, one.at_once, 12)
            for delay in one.delays:
                world.set_delay(delay)
                decoding = decode(world, one.samples, one.tokens // (2 if quick else 1), one.at_once)
                yield ScheduleResult(
                    dict(one.options),
                    one.samples,
                    delay,
                    one.cpus,
                    decoding.rate,
                    decoding.bytes_per_token,
                    world.ready,
                )
