"""Which layers go where: held against all splits there are, and refused with a sum that is right."""

import random
import re
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import pytest

from testbed.models.anatomy import Anatomy, Layer
from testbed.models.planner import Load, Member, place
from testbed.models.resolution import AGENT_MEMORY, ModelError
from testbed.models.windows import Windows

MIB = 2**20
LOAD = Load(samples=4, context=512, batch=32)


def _model(layers: int, layer: int = 10 * MIB, output: int = 20 * MIB) -> Anatomy:
    parts = tuple(Layer(layer, 64) for _ in range(layers))
    return Anatomy("llama", 256, 0, embedding=output, layers=parts, output=output, shared=0)


def _members(*memories: float, speed: float = 0.5) -> list[Member]:
    return [
        Member(name, round(AGENT_MEMORY + memory * MIB), speed)
        for name, memory in zip("abcdef", memories, strict=False)
    ]


def _splits(layers: int, parts: int) -> Iterator[tuple[int, ...]]:
    for borders in combinations(range(1, layers), parts - 1):
        yield tuple(end - begin for begin, end in pairwise([0, *borders, layers]))


def _slowest(anatomy: Anatomy, members: Sequence[Member], split: Sequence[int]) -> float | None:
    """The slowest stage's time under a split; None if it does not fit."""
    try:
        return max(stage.time for stage in place("m", anatomy, members, LOAD, split).stages)
    except ModelError:
        return None


@pytest.mark.parametrize("seed", range(60))
def test_no_split_that_fits_has_a_faster_slowest_stage(seed: int) -> None:
    draw = random.Random(seed)
    layers = tuple(Layer(draw.randint(1, 30) * MIB, draw.choice([32, 64, 256])) for _ in range(draw.randint(2, 9)))
    output = draw.randint(1, 60) * MIB
    windows = Windows(draw.choice([0, 0, 3]))
    anatomy = Anatomy("llama", 256, 1000, output, layers, output, draw.randint(0, MIB), windows)
    count = draw.randint(1, min(4, len(layers)))
    members = [
        Member(name, AGENT_MEMORY + draw.randint(20, 150) * MIB, draw.choice([0.1, 0.2, 0.5, 1.0]))
        for name in "abcd"[:count]
    ]
    times = [_slowest(anatomy, members, split) for split in _splits(len(layers), count)]
    possible = [time for time in times if time is not None]
    if not possible:
        with pytest.raises(ModelError, match="the ring cannot hold m"):
            place("m", anatomy, members, LOAD, None)
        return
    placement = place("m", anatomy, members, LOAD, None)
    assert sum(placement.plan.layers) == len(layers)
    assert all(stage.fits for stage in placement.stages)
    assert max(stage.time for stage in placement.stages) == min(possible)


def test_equal_nodes_share_equally_but_for_the_output_matrix() -> None:
    placement = place("m", _model(13), _members(*[500] * 3), LOAD, None)
    assert placement.plan.layers == (5, 5, 3)


def test_a_node_of_half_the_speed_gets_half_the_layers() -> None:
    slow, fast = (Member(name, 999 * MIB, speed) for name, speed in (("a", 0.25), ("b", 0.5)))
    assert place("m", _model(12, output=0), [slow, fast], LOAD, None).plan.layers == (4, 8)


def test_a_small_node_gets_what_it_can_hold_and_its_cache() -> None:
    kv = 2 * 64 * 2 * LOAD.samples * LOAD.context / MIB
    rows = 2 * LOAD.batch * 256 * 4 / MIB
    exactly = 2 * (10 + kv) + rows
    assert place("m", _model(12), _members(exactly, 500), LOAD, None).plan.layers == (2, 10)
    assert place("m", _model(12), _members(exactly - 0.01, 500), LOAD, None).plan.layers == (1, 11)


def test_what_fits_no_single_node_fits_several() -> None:
    with pytest.raises(ModelError):
        place("m", _model(12), _members(70), LOAD, None)
    assert place("m", _model(12), _members(70, 70, 70), LOAD, None).plan.layers == (4, 5, 3)


def test_where_the_sum_does_not_fit_the_answer_is_the_sum() -> None:
    with pytest.raises(ModelError) as raised:
        place("zoo/big", _model(12), _members(45, 45, 25), LOAD, None)
    said = str(raised.value)
    assert said.startswith("the ring cannot hold zoo/big: a holds 4 in 101MiB (agent 56.0 + layers 40.0 + KV cache 2.0")
    assert "c holds none in 81MiB" in said
    assert said.endswith("that is 8 of 12 layers; give its nodes more memory")
    for parts, total in re.findall(r"\(([^()]*) = ([\d.]+) MiB\)", said):
        assert sum(float(part.rsplit(" ", 1)[1]) for part in parts.split(" + ")) == pytest.approx(float(total), abs=0.3)


def test_a_split_of_the_users_is_taken_as_it_is_or_refused() -> None:
    members = _members(100, 100, 100)
    assert place("m", _model(12), members, LOAD, [2, 4, 6]).plan.layers == (2, 4, 6)
    with pytest.raises(ModelError, match="m has 12 layers, and `split` has 11"):
        place("m", _model(12), members, LOAD, [2, 4, 5])
    with pytest.raises(ModelError, match=r"node 'b' cannot hold layers 1-10 of m: agent 56\.0 "):
        place("m", _model(12), members, LOAD, [1, 10, 1])


def test_more_nodes_than_layers_are_refused() -> None:
    with pytest.raises(ModelError, match="m has 2 layers, too few for the 3 nodes"):
        place("m", _model(2), _members(100, 100, 100), LOAD, None)


def test_a_placement_says_what_it_chose_and_why() -> None:
    members = [Member("a", 200 * MIB, 0.5, 0.0125), Member("b", 200 * MIB, 0.5, 0.001)]
    assert place("m", _model(6), members, LOAD, None).explain() == {
        "a": "layers 0-3 in 98.1 of 200.0 MiB, 100% of the slowest stage's time, 12.5 ms a token to the next; "
        "no other split that fits has a faster slowest stage",
        "b": "layers 4-5 and the output matrix in 97.1 of 200.0 MiB, 100% of the slowest stage's time, "
        "1.0 ms a token to the next; no other split that fits has a faster slowest stage",
    }
    assert (
        place("m", _model(6), members, LOAD, [5, 1])
        .explain()["b"]
        .endswith("60% of the slowest stage's time, 1.0 ms a token to the next; the scenario says so")
    )
