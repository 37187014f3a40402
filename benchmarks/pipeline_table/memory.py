"""A model of a node's memory: base + a·layers + b·samples·context·layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline_table.decoding import prompts
from pipeline_table.standing import Setup, standing

_SPLIT: Final = (1, 3, 5, 7)
_LOADS: Final = ((1, 256), (16, 256), (4, 1024), (16, 768))  # samples and context
_EVEN: Final = (1, 2, 3)  # numbers of nodes with equal stages, as in MDI-LLM's table


@dataclass(frozen=True)
class MemoryPoint:
    """A node's bytes: resident in its processes, and by its cgroup, which includes cached files."""

    nodes: int
    layers: int
    samples: int
    context: int
    resident: int
    cgroup: int


@dataclass(frozen=True)
class Fit:
    """Bytes: of any node, for a layer, and for a layer, sample and token; and the share of the variance explained."""

    base: float
    layer: float
    cached: float
    r_squared: float


def measure(quick: bool) -> Iterator[MemoryPoint]:
    """The points: uneven rings of four nodes for the fit, even rings to compare with MDI-LLM's."""
    for samples, context in _LOADS[: 2 if quick else None]:
        yield from _points(_SPLIT, samples, context)
    for nodes in _EVEN:
        layers = [16 // nodes + (number < 16 % nodes) for number in range(nodes)]
        yield from _points(layers, nodes, 256)


def _points(split: Sequence[int], samples: int, context: int) -> Iterator[MemoryPoint]:
    options = {"split": list(split), "schedule": "microbatch", "samples": samples, "groups": min(samples, 4)}
    with standing(Setup.ring(len(split), options, context=context)) as world:
        world.play(prompts(samples), 4)
        measured = zip(split, world.resident(), world.memory(), strict=True)
        for layers, resident, cgroup in measured:
            yield MemoryPoint(len(split), layers, samples, context, resident, cgroup)


def fit(points: Sequence[MemoryPoint]) -> Fit:
    """A least-squares fit of the resident bytes."""
    terms = np.array([[1, one.layers, one.samples * one.context * one.layers] for one in points], float)
    memory = np.array([one.resident for one in points], float)
    scale = terms.max(axis=0)
    solution = np.linalg.lstsq(terms / scale, memory, rcond=None)[0] / scale
    residual = memory - terms @ solution
    r_squared = 1 - residual.var() / memory.var()
    base, layer, cached = map(float, solution)
    return Fit(base, layer, cached, float(r_squared))
