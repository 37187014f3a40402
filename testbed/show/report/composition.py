"""The figure of what latencies are spent on: queueing, inference, network, lost neighbours, and the rest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import accumulate
from typing import Final

from testbed.analysis.distributions import percentile
from testbed.analysis.latency.breakdown import Breakdown, mean_breakdown
from testbed.analysis.measurements import Measurements
from testbed.show.axis import ticks
from testbed.show.report.lines import COLUMNS, area_path

PARTS: Final = tuple(field.name for field in fields(Breakdown))
"""In the order in which they are stacked."""


@dataclass(frozen=True)
class OwnerRow:
    """The prompts that one node owned; seconds."""

    owner: str
    answered: int
    mean: Breakdown
    p95: float


@dataclass(frozen=True)
class Composition:
    """The composition of all latencies, of each owner's, and of each prompt's from the fastest to the slowest.

    ``areas`` are SVG paths by part, ``width`` units wide and ``scale`` seconds high.
    """

    mean: Breakdown
    owners: Sequence[OwnerRow]
    areas: Mapping[str, str]
    width: int
    scale: float

    def spent(self, mean: Breakdown) -> str:
        """The parts of an owner's mean as a bar, which is full for the slowest owner."""
        return spent(mean, max(row.mean.total for row in self.owners))

    @property
    def ticks(self) -> list[float]:
        """The marks of the axis of seconds."""
        return ticks(self.scale, 4)


def composition(measured: Measurements, spent_by_prompt: Mapping[str, Breakdown], nodes: Iterable[str]) -> Composition:
    """The composition of latencies that are ``spent_by_prompt`` like that; owners are in the order of ``nodes``."""
    owners: dict[str, list[Breakdown]] = {node: [] for node in nodes}
    for prompt, parts in spent_by_prompt.items():
        owners[measured.prompts[prompt]["owner"]].append(parts)
    groups = _grouped(sorted(spent_by_prompt.values(), key=lambda parts: parts.total))
    stacks = [[0.0, *accumulate(astuple(parts))] for parts in groups]
    areas = {
        part: area_path([stack[number] for stack in stacks], [stack[number + 1] for stack in stacks])
        for number, part in enumerate(PARTS)
    }
    return Composition(
        mean_breakdown(spent_by_prompt.values()),
        [_owner_row(owner, prompts) for owner, prompts in owners.items() if prompts],
        areas,
        max(1, len(groups) - 1),
        max((parts.total for parts in groups), default=0.0) or 1.0,
    )


def spent(parts: Breakdown, whole: float) -> str:
    """Where the parts of a latency end in a bar that is ``whole`` seconds long: percents, as properties of CSS."""
    ends = accumulate(astuple(parts))
    return ";".join(f"--{part[0]}:{100 * end / (whole or 1):.3g}" for part, end in zip(PARTS, ends, strict=True))


def _owner_row(owner: str, prompts: Sequence[Breakdown]) -> OwnerRow:
    p95 = percentile([parts.total for parts in prompts], 0.95)
    return OwnerRow(owner, len(prompts), mean_breakdown(prompts), p95 or 0.0)


def _grouped(ranked: Sequence[Breakdown]) -> list[Breakdown]:
    """Means of neighbours in the ranking, as many as a screen can show; the slowest prompt stands for itself."""
    size = -(-len(ranked) // COLUMNS) or 1
    slowest = ranked[-1:]
    return [mean_breakdown(ranked[at : at + size]) for at in range(0, len(ranked) - 1, size)] + list(slowest)
