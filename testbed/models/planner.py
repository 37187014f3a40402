"""Which layers go where: so that the slowest stage is as fast as can be, and every stage fits its node.

A stage's time for a token is taken to grow with the weights that it reads, and to fall with its node's share of a core.
Layers stay in their order, and so do nodes: what is planned is where the borders are. What a token takes on the links
depends on the order of the ring alone; the plan says it, and cannot change it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Final

from testbed.core.units import SIZE
from testbed.models.anatomy import Anatomy
from testbed.models.resolution import AGENT_MEMORY, KV_BYTES, LOGIT_BYTES, ModelError, mebibytes
from testbed.models.split import StagePlan

_HIDDEN_BYTES: Final = 4
_TOKENIZER_BYTES: Final = 350  # of a token, measured with a vocabulary of 32,000


@dataclass(frozen=True)
class Member:
    """A node of the ring: its memory cap in bytes, its speed (as a share of a core), and the seconds that a token takes
    on the links to the next node."""

    name: str
    memory: int
    speed: float
    hop: float = 0.0


@dataclass(frozen=True)
class Load:
    """How many samples are in flight, of up to how many tokens each, and how many rows are computed at once."""

    samples: int
    context: int
    batch: int


@dataclass(frozen=True)
class PlannedStage:
    """What a member holds: its layers, the bytes that each part of it takes, and its work, the weights in bytes that a
    token reads."""

    member: Member
    layers: range
    memory: Mapping[str, int]
    work: int

    @property
    def needed(self) -> int:
        """All its bytes."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether the member's cap is enough."""
        return self.needed <= self.member.memory

    @property
    def time(self) -> float:
        """How long a token takes, in units of no meaning but for comparison."""
        return self.work / self.member.speed


@dataclass(frozen=True)
class Placement:
    """The stages of a ring, and why they are as they are."""

    stages: Sequence[PlannedStage]
    reason: str

    @property
    def plan(self) -> StagePlan:
        """How many layers each stage has."""
        return StagePlan(tuple(len(stage.layers) for stage in self.stages))

    @property
    def slowest(self) -> PlannedStage:
        """The stage that bounds how many tokens a second the ring gives."""
        return max(self.stages, key=lambda stage: stage.time)

    def explain(self) -> dict[str, str]:
        """What each member holds and why, in words."""
        return {stage.member.name: f"{_said(stage, self.slowest)}; {self.reason}" for stage in self.stages}


def place(
    model: str, anatomy: Anatomy, members: Sequence[Member], load: Load, split: Sequence[int] | None
) -> Placement:
    """The best placement of ``model`` on a ring of members, or that of ``split``; raises ModelError if none fits."""
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
    """What stages of one model on some members come to."""

    def __init__(self, anatomy: Anatomy, members: Sequence[Member], load: Load) -> None:
        self.anatomy = anatomy
        self.members = members
        self._load = load
        self._weights = list(accumulate((layer.size for layer in anatomy.layers), initial=0))
        self._kv_widths = list(accumulate((layer.kv_width for layer in anatomy.layers), initial=0))

    def stage(self, number: int, layers: range) -> PlannedStage:
        """What member ``number`` takes for some layers; the last member has the output matrix as well."""
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
            memory["tokenizer"] = self.anatomy.vocabulary * _TOKENIZER_BYTES
        if number == len(self.members) - 1:
            memory["output"] = self.anatomy.output
            memory["logits"] = 2 * samples * self.anatomy.vocabulary * LOGIT_BYTES
        return PlannedStage(self.members[number], layers, memory, weights + memory.get("output", 0))

    def best(self) -> Sequence[PlannedStage] | None:
        """The stages of the split with the least (slowest stage, sum of all), of those that fit; None if none does."""
        last = len(self.members) - 1
        total = len(self.anatomy.layers)

        @cache
        def rest(number: int, begin: int) -> tuple[float, float, tuple[PlannedStage, ...]] | None:
            """The best for the members from ``number`` on, with the layers from ``begin`` on."""
            ends = [total] if number == last else range(begin + 1, total - (last - number) + 1)
            found = []
            for end in ends:
                stage = self.stage(number, range(begin, end))
                after = (0.0, 0.0, ()) if number == last else rest(number + 1, end)
                if stage.fits and after is not None:
                    found.append((max(stage.time, after[0]), stage.time + after[1], (stage, *after[2])))
            return min(found, key=lambda one: one[:2], default=None)

        best = rest(0, 0)
        return None if best is None else best[2]

    def fullest(self) -> list[PlannedStage | None]:
        """Each member filled up in turn, with a layer left for each that follows; None for one that cannot hold any."""
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
        raise ModelError(f"{model} has {len(ring.anatomy.layers)} layers, and `split` has {plan.total}")
    stages = [ring.stage(number, layers) for number, layers in enumerate(plan.ranges)]
    for stage in stages:
        if not stage.fits:
            raise ModelError(
                f"node {stage.member.name!r} cannot hold layers {_written(stage.layers)} of {model}: {_sum(stage)} MiB"
                f", and its memory is {SIZE.format(stage.member.memory)}; give it fewer layers or more memory"
            )
    return Placement(stages, "the scenario says so")


def _arithmetic(model: str, ring: _Ring) -> str:
    """Why a ring cannot hold a model: what each of its members can, filled up in turn."""
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
    """Its parts and what they come to, in MiB."""
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
