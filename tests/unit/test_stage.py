"""Stages compute what the model in one piece computes, bit by bit, and refuse what they cannot."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from llama_cpp import llama_cpp
from rings import CONTEXT, Ring, Rings, plans, whole
from small_models import Kind, Shape, requantized, write_model

from testbed.models import zoo
from testbed.models.anatomy import ARCHITECTURES
from testbed.models.resolution import resolve
from testbed.models.split import StagePlan, split
from testbed.node.engine.front import Front
from testbed.node.engine.model import ChatModel, Sampling
from testbed.node.engine.stage import InnerStage, LastStage, Limits, Rows, StageError
from testbed.patterns.participant import ChatMessage

LIMITS = Limits(context=CONTEXT, sequences=4, batch=64, threads=1)
PROMPT = [1, *(3 + byte for byte in b"What is the capital city of Mupuland?")]
TOKENS = 8

SHAPES = {
    **{architecture: Shape(architecture) for architecture in ARCHITECTURES},
    "llama, tied": Shape(tied=True),
    "llama, rope factors": Shape(rope_factors=True),
    "llama, experts": Shape(experts=4),
    "llama, Q8_0": Shape(kind=Kind.Q8_0),
    "llama, Q4_0, F16 output": Shape(kind=Kind.Q4_0, output_kind=Kind.F16),
    "qwen2, tied, Q8_0": Shape("qwen2", tied=True, kind=Kind.Q8_0),
    "qwen3, tied, Q4_0": Shape("qwen3", tied=True, kind=Kind.Q4_0),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_logits_are_those_of_the_model_in_one_piece(shape: Shape, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf", shape)
    truth = whole(path, PROMPT, TOKENS)
    with Rings(resolve(f"path:{path}"), tmp_path, LIMITS) as rings:
        for plan in plans(shape.layers):
            assert np.array_equal(rings.ring(plan).draw([PROMPT], TOKENS)[0], truth), plan


@pytest.mark.parametrize("tied", [True, False])
def test_mixed_encodings_give_the_same_bits_in_every_batch(tied: bool, tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain.gguf", Shape(width=256, head_width=64, feed_forward=512, tied=tied))
    path = requantized(plain, tmp_path / "mixed.gguf", llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M)
    kinds = {tensor.tensor_type for tensor in GGUFReader(path).tensors}
    assert kinds >= {Kind.Q4_K, Kind.Q6_K}
    prompts = [PROMPT, PROMPT[1:], PROMPT[5:]]
    with Rings(resolve(f"path:{path}"), tmp_path, Limits(CONTEXT, 3, batch=16, threads=1)) as rings:
        for prompt, drawn in zip(prompts, rings.ring(StagePlan((1, 2))).draw(prompts, TOKENS), strict=True):
            assert np.array_equal(drawn, whole(path, prompt, TOKENS))


@pytest.mark.parametrize("seed", range(16))
def test_whatever_the_shape_the_split_and_the_chunks(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    architecture = draw.choice(ARCHITECTURES)
    kv_heads, groups, head_width = draw.choice([1, 2]), draw.choice([1, 2, 3]), draw.choice([32, 64])
    heads = kv_heads * groups
    shape = Shape(
        architecture=architecture,
        layers=draw.randint(2, 5),
        width=heads * head_width if architecture == "qwen2" else 32 * draw.randint(1, 5),  # as llama.cpp wants it
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        feed_forward=32 * draw.randint(1, 6),
        vocabulary=draw.randint(280, 600),
        kind=draw.choice([Kind.Q8_0, Kind.Q4_0]),
        tied=draw.random() < 0.5,
        rope_factors=architecture in ("llama", "mistral3"),
    )
    path = write_model(tmp_path / "model.gguf", shape, seed)
    plan = draw.choice(list(plans(shape.layers)))
    chunk = draw.randint(1, len(PROMPT))
    with Rings(resolve(f"path:{path}"), tmp_path, Limits(CONTEXT, 1, chunk, 1)) as rings:
        assert np.array_equal(rings.ring(plan).draw([PROMPT], TOKENS)[0], whole(path, PROMPT, TOKENS))


@pytest.mark.parametrize("stages", [(6, 6), (3, 5, 4), (1, 9, 2), (2, 4, 6)])
def test_sliding_windows_are_those_of_the_layers_in_one_piece(stages: tuple[int, ...], tmp_path: Path) -> None:
    """Layers 5 and 11 of twelve attend to all tokens, the others to the last eight."""
    path = write_model(tmp_path / "model.gguf", Shape("gemma3", layers=12, tied=True, kind=Kind.Q8_0))
    with Rings(resolve(f"path:{path}"), tmp_path, LIMITS) as rings:
        drawn = rings.ring(StagePlan(stages)).draw([PROMPT], TOKENS)[0]
    assert np.array_equal(drawn, whole(path, PROMPT, TOKENS))


@pytest.mark.parametrize("name", zoo.NAMES)
def test_every_split_of_the_zoo_says_what_the_model_says(name: str, tmp_path: Path) -> None:
    model = resolve(f"zoo/{name}")
    truth = whole(model.path, PROMPT, TOKENS)
    with Rings(model, tmp_path, LIMITS) as rings:
        for plan in plans(model.layers):
            assert np.array_equal(rings.ring(plan).draw([PROMPT], TOKENS)[0], truth), plan


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """Three stages of a model with quantized weights."""
    with Rings(resolve("zoo/alpha"), tmp_path_factory.mktemp("stages"), LIMITS) as rings:
        yield rings.ring(StagePlan((1, 3, 2)))


@pytest.fixture
def ring(loaded: Ring) -> Ring:
    """With nothing cached."""
    loaded.free()
    return loaded


def _prompts(count: int) -> list[list[int]]:
    return [PROMPT[number:] for number in range(count)]


def test_a_group_draws_what_each_of_its_sequences_draws_alone(ring: Ring) -> None:
    prompts = _prompts(LIMITS.sequences)
    for prompt, drawn in zip(prompts, ring.draw(prompts, TOKENS), strict=True):
        assert np.array_equal(drawn, whole(zoo.path("alpha"), prompt, TOKENS))


def test_rows_may_come_in_any_order(ring: Ring) -> None:
    prompts = _prompts(4)
    ends = [ring.read(prompt, sequence) for sequence, prompt in enumerate(prompts)]
    order = [2, 0, 3, 1]
    rows = Rows(order, [len(prompts[sequence]) for sequence in order])
    logits = ring.logits([int(ends[sequence].argmax()) for sequence in order], rows, [3, 0])
    for line, sequence in enumerate((1, 2)):
        assert np.array_equal(logits[line], whole(zoo.path("alpha"), prompts[sequence], 2)[1])


def test_a_chunk_of_one_prompt_and_a_token_of_another_come_together(ring: Ring) -> None:
    long, short = _prompts(2)
    token = int(ring.read(short, 1).argmax())
    rows = Rows([0] * len(long) + [1], [*range(len(long)), len(short)])
    logits = ring.logits([*long, token], rows, [len(long) - 1, len(long)])
    assert np.array_equal(logits[0], whole(zoo.path("alpha"), long, 1)[0])
    assert np.array_equal(logits[1], whole(zoo.path("alpha"), short, 2)[1])


def test_a_sequence_that_ends_leaves_its_room_and_the_others_alone(ring: Ring) -> None:
    first, second, third = _prompts(3)
    ends = [ring.read(first, 0), ring.read(second, 1)]
    for stage in (*ring.stages, ring.last):
        stage.free(0)
    assert np.array_equal(ring.read(third, 0), whole(zoo.path("alpha"), third, 1)[0])
    logits = ring.logits([int(ends[1].argmax())], Rows([1], [len(second)]), [0])
    assert np.array_equal(logits[0], whole(zoo.path("alpha"), second, 2)[1])


def test_a_chunk_that_nobody_wants_logits_of_fills_the_cache(ring: Ring) -> None:
    half = len(PROMPT) // 2
    assert ring.logits(PROMPT[:half], Rows([0] * half, range(half)), []).shape == (0, ring.last.vocabulary)
    rest = PROMPT[half:]
    logits = ring.logits(rest, Rows([0] * len(rest), range(half, len(PROMPT))), [len(rest) - 1])
    assert np.array_equal(logits[0], whole(zoo.path("alpha"), PROMPT, 1)[0])


@pytest.mark.parametrize(
    ("sequences", "batches"),
    [
        ([0, 0, 0], [3]),
        ([0, 1, 2, 3], [4]),
        ([2, 3, 0, 1], [2, 2]),
        ([0, 2, 3], [1, 2]),
        ([0, 0, 1, 2], [2, 2]),
        ([0, 1, 1, 1], [2, 2]),
        ([3, 2, 1], [1, 1, 1]),
        ([5], [1]),
    ],
)
def test_what_is_computed_as_one_batch(sequences: list[int], batches: list[int]) -> None:
    slices = list(Rows(sequences, [0] * len(sequences)).batches())
    assert [part.stop - part.start for part in slices] == batches
    assert [row for part in slices for row in range(part.start, part.stop)] == list(range(len(sequences)))


def _hidden(ring: Ring, rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.ones((rows, ring.front.width), np.float32)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (Rows([0], [5]), "position 5 of sequence 0 does not follow the 0 tokens that are cached"),
        (Rows([0, 0], [0, 2]), "position 2 of sequence 0 does not follow the 1 tokens"),
        (Rows([0, 1], [0, 1]), "position 1 of sequence 1 does not follow the 0 tokens"),
        (Rows([0, 0], [0, 0]), "position 0 of sequence 0 does not follow the 1 tokens"),
        (Rows([LIMITS.sequences], [0]), "there is no sequence 4"),
        (Rows([-1], [0]), "there is no sequence -1"),
        (Rows([0] * (LIMITS.batch + 1), range(LIMITS.batch + 1)), "a batch holds 64 rows, not 65"),
    ],
)
def test_rows_that_cannot_be_are_refused_and_the_stage_goes_on(ring: Ring, rows: Rows, reason: str) -> None:
    for compute in (
        lambda: ring.stages[0].forward(rows, _hidden(ring, len(rows))),
        lambda: ring.last.logits(rows, _hidden(ring, len(rows)), []),
    ):
        with pytest.raises(StageError, match=reason):
            compute()
    ring.free()
    assert np.array_equal(ring.read(PROMPT), whole(zoo.path("alpha"), PROMPT, 1)[0])


def test_nothing_is_computed_of_no_rows(ring: Ring) -> None:
    assert ring.stages[0].forward(Rows([], []), _hidden(ring, 0)).shape == (0, ring.front.width)


def test_hidden_states_of_another_shape_are_refused(ring: Ring) -> None:
    for shape in ((1, ring.front.width), (2, ring.front.width - 1), (2 * ring.front.width,)):
        with pytest.raises(StageError, match="2 rows need 2 × 192 values"):
            ring.stages[0].forward(Rows([0, 0], [0, 1]), np.ones(shape, np.float32))


@pytest.mark.parametrize("wanted", [[5], [-1], range(5)])
def test_logits_of_rows_that_are_not_there_or_of_too_many_are_refused(wanted: Sequence[int], ring: Ring) -> None:
    with pytest.raises(StageError, match="of 5 rows, at most 4 can be wanted"):
        ring.last.logits(Rows([0] * 5, range(5)), _hidden(ring, 5), wanted)


def test_rows_without_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows have 1 positions"):
        Rows([0, 1], [0])


@pytest.mark.parametrize("sequence", [-1, LIMITS.sequences])
def test_a_sequence_that_cannot_be_is_not_freed(sequence: int, ring: Ring) -> None:
    with pytest.raises(StageError, match=f"there is no sequence {sequence}"):
        ring.last.free(sequence)


@pytest.mark.parametrize("token", [-1, 938, 2**31])
def test_a_token_that_is_not_in_the_vocabulary_is_refused(token: int, ring: Ring) -> None:
    with pytest.raises(StageError, match=f"no such token: there is no row {token} among 938"):
        ring.front.embed([5, token])


def test_a_front_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    whole_front = split(resolve("zoo/alpha"), StagePlan((6,)), tmp_path).front
    path = tmp_path / "front.gguf"
    path.write_bytes(whole_front.read_bytes()[:-1000])
    with pytest.raises(StageError, match="is not the front of a model"):
        Front(path)


def test_a_sequence_longer_than_the_context_is_refused_and_the_others_have_their_room(ring: Ring) -> None:
    stage = ring.stages[0]
    with pytest.raises(StageError, match="sequence 0 has 256 tokens, and there is room for no more"):
        for position in range(0, 2 * CONTEXT, LIMITS.batch):
            rows = Rows([0] * LIMITS.batch, range(position, position + LIMITS.batch))
            stage.forward(rows, _hidden(ring, LIMITS.batch))
    assert position == CONTEXT
    stage.forward(Rows([1], [0]), _hidden(ring, 1))


@pytest.mark.parametrize("content", [b"", b"GGUF", bytes(4096)], ids=["empty", "magic", "zeros"])
def test_a_file_that_is_no_stage_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "stage.gguf"
    path.write_bytes(content)
    for kind in (InnerStage, LastStage):
        with pytest.raises(StageError, match="is no stage"):
            kind(path, LIMITS)
    with pytest.raises(StageError, match="is not the front of a model"):
        Front(path)


def test_a_front_is_not_taken_for_a_stage(tmp_path: Path) -> None:
    files = split(resolve("zoo/alpha"), StagePlan((6,)), tmp_path)
    with pytest.raises(StageError, match="is no stage"):
        InnerStage(files.front, LIMITS)


MESSAGES: list[ChatMessage] = [{"role": "user", "content": "Name the capital city of Mupuland."}]


def test_the_front_reads_and_writes_as_the_model_does(ring: Ring) -> None:
    prompt = ring.front.tokenize(MESSAGES)
    tokens = [int(logits.argmax()) for logits in ring.draw([prompt], 12)[0]]
    end = next(place for place, token in enumerate(tokens) if ring.front.ends(token))
    model = ChatModel(zoo.path("alpha"), CONTEXT, threads=1)
    answer = model.complete(MESSAGES, Sampling(0.0, 12, seed=0), lambda _: None)
    assert ring.front.detokenize(tokens[:end], prompt) == answer.text
    assert (len(prompt), end) == (answer.prompt_tokens, answer.tokens)
