"""What latencies are made of: queueing, inference, network, and what is left."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import accumulate
from typing import Final

from testbed.analysis.latency import Split, mean_split
from testbed.analysis.metrics import Measurements, percentile
from testbed.show.report.svg import COLUMNS, area_path, ticks

PARTS: Final = tuple(field.name for field in fields(Split))
"""In the order in which they are stacked."""


@dataclass(frozen=True)
class OwnerRow:
    """The prompts that one node owned; seconds."""

    owner: str
    answered: int
    mean: Split
    p95: float


@dataclass(frozen=True)
class Composition:
    """All prompts together, by owner, and from the fastest to the slowest.

    ``areas`` are the paths of the parts, as wide as there are groups less one, and ``scale`` seconds high.
    """

    mean: Split
    owners: Sequence[OwnerRow]
    areas: Mapping[str, str]
    width: int
    scale: float

    def spent(self, mean: Split) -> str:
        """The parts of an owner's mean, drawn against that of the slowest owner."""
        return spent(mean, max(row.mean.total for row in self.owners))

    @property
    def ticks(self) -> list[float]:
        """Where the axis of seconds is marked."""
        return ticks(self.scale, 4)


def composition(measured: Measurements, splits: Mapping[str, Split], nodes: Iterable[str]) -> Composition:
    """Of a run whose prompts' latencies are split so; the owners are in the order of ``nodes``."""
    owners: dict[str, list[Split]] = {node: [] for node in nodes}
    for prompt, split in splits.items():
        owners[measured.prompts[prompt]["owner"]].append(split)
    groups = _grouped(sorted(splits.values(), key=lambda split: split.total))
    stacks = [[0.0, *accumulate(astuple(split))] for split in groups]
    areas = {
        part: area_path([stack[number] for stack in stacks], [stack[number + 1] for stack in stacks])
        for number, part in enumerate(PARTS)
    }
    return Composition(
        mean_split(splits.values()),
        [_owner_row(owner, parts) for owner, parts in owners.items() if parts],
        areas,
        max(1, len(groups) - 1),
        max((split.total for split in groups), default=0.0) or 1.0,
    )


def spent(split: Split, whole: float) -> str:
    """Where the parts of a latency end in a bar that is ``whole`` seconds long: percents, as properties of CSS."""
    ends = accumulate(astuple(split))
    return ";".join(f"--{part[0]}:{100 * end / (whole or 1):.3g}" for part, end in zip(PARTS, ends, strict=True))


def _owner_row(owner: str, parts: Sequence[Split]) -> OwnerRow:
    return OwnerRow(owner, len(parts), mean_split(parts), percentile([split.total for split in parts], 0.95) or 0.0)


def _grouped(ranked: Sequence[Split]) -> list[Split]:
    """So many next to each other as one that a screen can show the rest; the slowest stands for itself."""
    size = -(-len(ranked) // COLUMNS) or 1
    slowest = ranked[-1:]
    return [mean_split(ranked[at : at + size]) for at in range(0, len(ranked) - 1, size)] + list(slowest)
