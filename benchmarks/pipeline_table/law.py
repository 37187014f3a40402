"""Throughput against the steady-state law: tokens/s = min(1 / max cᵢ, S / Σ(cᵢ + dᵢ)).

Every sample is in a group of its own. cᵢ is the mean time of stage i for a token while tokens were counted, from its
events (`computed`), including waits for its CPU cap. dᵢ is the time on link i: its delay, and the frame with packet
headers divided by its rate. The law omits sockets, event loops and the links' relay, which make a ring slower.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline_table.decoding import decode
from pipeline_table.standing import CPUS, RATE, WIDTH, Setup, standing, wire_bytes

SAMPLES: Final = (1, 2, 4, 8, 16)
NODES: Final = (1, 2, 3, 4)
DELAYS: Final = (0.0, 0.01, 0.05)

_FRAME: Final = 29  # bytes of a frame besides the hidden row of a single token
_HOME: Final = 37  # bytes of a token on its last hop, to the head


@dataclass(frozen=True)
class LawCell:
    """So many ``nodes`` and ``samples``, a link's ``delay``; the seconds of each stage and each link, and the tokens/s.

    ``busy`` is what each node used of its CPU, for all that it did, as seconds behind its cap for each token.
    """

    nodes: int
    delay: float
    samples: int
    stages: list[float]
    links: list[float]
    busy: list[float]
    rate: float

    @property
    def by_stages(self) -> float:
        """Tokens per second of the slowest stage."""
        return 1 / max(self.stages)

    @property
    def by_round(self) -> float:
        """Tokens per second that the samples in flight allow."""
        return self.samples / (sum(self.stages) + sum(self.links))

    @property
    def law(self) -> float:
        """Tokens per second by the law."""
        return min(self.by_stages, self.by_round)

    @property
    def ratio(self) -> float:
        """The ring's tokens per second divided by the law's."""
        return self.rate / self.law


def measure(quick: bool) -> Iterator[LawCell]:
    """The cells, with one world for each number of nodes, whose links are changed in place."""
    for nodes in NODES:
        setup = Setup.ring(nodes, {"schedule": "microbatch", "samples": max(SAMPLES), "groups": max(SAMPLES)})
        with standing(setup) as world:
            decode(world, 2, 16)  # warms up connections, caches and TCP windows
            for delay in DELAYS[: 1 if nodes == 1 else None]:
                world.set_delay(delay)
                for samples in SAMPLES:
                    tokens = _tokens(samples) // (2 if quick else 1)
                    before = world.cpu()
                    decoding = decode(world, samples, tokens)
                    used = [after - first for after, first in zip(world.cpu(), before, strict=True)]
                    yield LawCell(
                        nodes,
                        delay,
                        samples,
                        list(decoding.stages),
                        link_seconds(nodes, delay),
                        [seconds / CPUS / (samples * tokens) for seconds in used],
                        decoding.rate,
                    )


def _tokens(samples: int) -> int:
    """The tokens of each sample that take a few seconds."""
    return 48 if samples <= 4 else 32


def link_seconds(nodes: int, delay: float) -> list[float]:
    """Seconds of a token by link; empty for a single node."""
    if nodes == 1:
        return [0.0]
    sizes: Sequence[int] = [4 * WIDTH + _FRAME] * (nodes - 1) + [_HOME]
    return [delay + wire_bytes(size) * 8 / RATE for size in sizes]
