"""Places the layers of a model on the nodes of a ring: the slowest stage is as fast as possible, and each stage fits.

The time of a stage for a token is taken as the weights that it reads, divided by its node's share of a core. The order
of layers and of nodes is fixed, so a plan decides only the borders between stages. The time of a token on the links
depends on the order of the ring alone; plans report it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Final

from testbed.core.units import SIZE
from testbed.models.anatomy import Anatomy
from testbed.models.resolution import AGENT_MEMORY, KV_BYTES, LOGIT_BYTES, TOKENIZER_BYTES, ModelError, mebibytes
from testbed.models.split import StagePlan
from testbed.models.windows import refused_layers

_HIDDEN_BYTES: Final = 4


@dataclass(frozen=True)
class Member:
    """A node of the ring: its memory cap in bytes, its speed in cores, and the seconds of a token on the links to the
    next node."""

    name: str
    memory: int
    speed: float
    hop: float = 0.0


@dataclass(frozen=True)
class Load:
    """The number of samples in flight, the tokens of each at most, and the rows of a batch."""

    samples: int
    context: int
    batch: int


@dataclass(frozen=True)
class PlannedStage:
    """A member's layers, its memory in bytes by item, and its work: the bytes of weights that a token reads."""

    member: Member
    layers: range
    memory: Mapping[str, int]
    work: int

    @property
    def needed(self) -> int:
        """The member's memory, in bytes."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether the memory is within the member's cap."""
        return self.needed <= self.member.memory

    @property
    def time(self) -> float:
        """The time of a token, in units that only compare stages."""
        return self.work / self.member.speed


@dataclass(frozen=True)
class Placement:
    """The stages of a ring, and the reason for this placement."""

    stages: Sequence[PlannedStage]
    reason: str

    @property
    def plan(self) -> StagePlan:
        """The number of layers of each stage."""
        return StagePlan(tuple(len(stage.layers) for stage in self.stages))

    @property
    def slowest(self) -> PlannedStage:
        """The stage that limits the throughput of the ring."""
        return max(self.stages, key=lambda stage: stage.time)

    def explain(self) -> dict[str, str]:
        """Sentences on the layers of each member and the reason, by name."""
        return {stage.member.name: f"{_said(stage, self.slowest)}; {self.reason}" for stage in self.stages}


def place(
    model: str, anatomy: Anatomy, members: Sequence[Member], load: Load, split: Sequence[int] | None
) -> Placement:
    """The best placement of ``model`` on a ring, or that of ``split``; raises ModelError if it does not fit."""
    ring = _Ring(anatomy, members, load)
    if split is not None:
        return _as_asked(model, ring, split)
    if len(members) > len(anatomy.layers):
        raise ModelError(f"{model} has {len(anatomy.layers)} layers, too few for the {len(members)} nodes of the ring")
    stages = ring.best()
    if stages is None:
        raise ModelError(_arithmetic(model, ring))
    return Placement(stages, "no other split that fits has a faster slowest stage")


class _Ring:
    """Possible stages of one model on the members of a ring."""

    def __init__(self, anatomy: Anatomy, members: Sequence[Member], load: Load) -> None:
        self.anatomy = anatomy
        self.members = members
        self._load = load
        self._weights = list(accumulate((layer.size for layer in anatomy.layers), initial=0))
        self._kv_widths = list(accumulate((layer.kv_width for layer in anatomy.layers), initial=0))

    def stage(self, number: int, layers: range) -> PlannedStage:
        """The stage of member ``number`` with ``layers``. The last member has the output matrix as well."""
        weights = self._weights[layers.stop] - self._weights[layers.start]
        kv_width = self._kv_widths[layers.stop] - self._kv_widths[layers.start]
        samples, context, batch = self._load.samples, self._load.context, self._load.batch
        memory = {
            "agent": AGENT_MEMORY,
            "layers": weights + self.anatomy.shared,
            "KV cache": 2 * kv_width * KV_BYTES * samples * context,
            "rows": 2 * batch * self.anatomy.width * _HIDDEN_BYTES,
        }
        if number == 0:
            memory["tokenizer"] = self.anatomy.vocabulary * TOKENIZER_BYTES
        if number == len(self.members) - 1:
            memory["output"] = self.anatomy.output
            memory["logits"] = 2 * samples * self.anatomy.vocabulary * LOGIT_BYTES
        return PlannedStage(self.members[number], layers, memory, weights + memory.get("output", 0))

    def best(self) -> Sequence[PlannedStage] | None:
        """The split that fits with the fastest slowest stage, then the least total time; None if none fits."""
        last = len(self.members) - 1
        total = len(self.anatomy.layers)

        @cache
        def rest(number: int, begin: int) -> tuple[float, float, tuple[PlannedStage, ...]] | None:
            """The best split of the layers from ``begin`` on over the members from ``number`` on."""
            ends = [total] if number == last else range(begin + 1, total - (last - number) + 1)
            found = []
            for end in ends:
                stage = self.stage(number, range(begin, end))
                after = (0.0, 0.0, ()) if number == last else rest(number + 1, end)
                if stage.fits and self.anatomy.windows.allow(stage.layers) and after is not None:
                    found.append((max(stage.time, after[0]), stage.time + after[1], (stage, *after[2])))
            return min(found, key=lambda one: one[:2], default=None)

        best = rest(0, 0)
        return None if best is None else best[2]

    def fullest(self) -> list[PlannedStage | None]:
        """Each member filled in turn, leaving a layer for each member after it; None for one that can hold none."""
        begin = 0
        stages: list[PlannedStage | None] = []
        for number in range(len(self.members)):
            most = len(self.anatomy.layers) - (len(self.members) - 1 - number)
            held = [self.stage(number, range(begin, end)) for end in range(begin + 1, most + 1)]
            fitting = [stage for stage in held if stage.fits]
            stages.append(fitting[-1] if fitting else None)
            begin = fitting[-1].layers.stop if fitting else begin
        return stages


def _as_asked(model: str, ring: _Ring, split: Sequence[int]) -> Placement:
    plan = StagePlan(tuple(split))
    if plan.total != len(ring.anatomy.layers):
        raise ModelError(
            f"{model} has {len(ring.anatomy.layers)} layers, and `split` has {plan.total}; the numbers must add up"
        )
    stages = [ring.stage(number, layers) for number, layers in enumerate(plan.ranges)]
    for stage in stages:
        if not ring.anatomy.windows.allow(stage.layers):
            raise ModelError(f"{model}: {refused_layers(stage.layers)}")
        if not stage.fits:
            raise ModelError(
                f"node {stage.member.name!r} cannot hold layers {_written(stage.layers)} of {model}: {_sum(stage)} MiB"
                f", and its memory is {SIZE.format(stage.member.memory)}; give it fewer layers or more memory"
            )
    return Placement(stages, "the scenario says so")


def _arithmetic(model: str, ring: _Ring) -> str:
    """Why a ring cannot hold a model: how many layers each member can hold, filled in turn."""
    stages = ring.fullest()
    held = sum(len(stage.layers) for stage in stages if stage is not None)
    each = "; ".join(_holding(member, stage) for member, stage in zip(ring.members, stages, strict=True))
    total = len(ring.anatomy.layers)
    return f"the ring cannot hold {model}: {each}; that is {held} of {total} layers; give its nodes more memory"


def _holding(member: Member, stage: PlannedStage | None) -> str:
    cap = SIZE.format(member.memory)
    if stage is None:
        return f"{member.name} holds none in {cap}"
    return f"{member.name} holds {len(stage.layers)} in {cap} ({_sum(stage)} MiB)"


def _sum(stage: PlannedStage) -> str:
    """The memory by item and in total, in MiB."""
    parts = " + ".join(f"{name} {mebibytes(size)}" for name, size in stage.memory.items())
    return f"{parts} = {mebibytes(stage.needed)}"


def _said(stage: PlannedStage, slowest: PlannedStage) -> str:
    with_output = " and the output matrix" if "output" in stage.memory else ""
    return (
        f"layers {_written(stage.layers)}{with_output} in {mebibytes(stage.needed)} of "
        f"{mebibytes(stage.member.memory)} MiB, {stage.time / slowest.time:.0%} of the slowest stage's time, "
        f"{stage.member.hop * 1e3:.1f} ms a token to the next"
    )


def _written(layers: range) -> str:
    return f"{layers[0]}-{layers[-1]}"
