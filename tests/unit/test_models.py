"""Models: what a reference stands for, and what is refused before anything starts."""

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from small_models import finish

from testbed.models.resolution import AGENT_MEMORY, Model, ModelError, resolve

MIB = 2**20
OTHERS = (
    "hf:OWNER/REPO[@REVISION]/FILE.gguf, path:FILE.gguf, pypi:PACKAGE[==VERSION]/PATH[+PACKAGE/PATH…], "
    "synthetic:NAME, url:https://HOST/FILE.gguf#sha256=HASH, zoo/NAME"
)


def _write_gguf(path: Path, *, vocabulary: int = 100, **other: int | list[int] | None) -> Path:
    """A GGUF of a Llama model's header and a tiny embedding: 4 layers, width 192, 6 heads of 32 that share 2.

    ``other`` are other values for the header; None leaves one out.
    """
    writer = GGUFWriter(path, "llama")
    header = {"block_count": 4, "embedding_length": 192, "head_count": 6, "head_count_kv": 2, **other}
    for key, value in header.items():
        if value is not None:
            getattr(writer, f"add_{key}")(value)
    writer.add_token_list([f"t{number}" for number in range(vocabulary)])
    writer.add_tensor("token_embd.weight", np.zeros((2, 4), np.float32))
    finish(writer)
    return path


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    return _write_gguf(tmp_path / "tiny.gguf")


def test_a_gguf_of_the_users_is_read_from_its_header(gguf: Path) -> None:
    model = resolve(f"path:{gguf}")
    assert model == Model(
        reference=f"path:{gguf}",
        path=gguf.resolve(),
        sha256=hashlib.sha256(gguf.read_bytes()).hexdigest(),
        size=gguf.stat().st_size,
        layers=4,
        kv_width=4 * 64,
        vocabulary=100,
        heads=6,
    )


def test_without_grouped_heads_the_cache_is_as_wide_as_the_model(tmp_path: Path) -> None:
    assert resolve(f"path:{_write_gguf(tmp_path / 'm.gguf', head_count_kv=None)}").kv_width == 4 * 192


def test_a_changed_file_is_another_model(tmp_path: Path) -> None:
    """Two paths, as one path's header is read once a process."""
    first, second = (_write_gguf(tmp_path / f"{n}.gguf", vocabulary=n) for n in (50, 60))
    assert resolve(f"path:{first}").sha256 != resolve(f"path:{second}").sha256


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("zoo/psi", "zoo/psi: there is no such model; known are zoo/alpha, zoo/beta, zoo/gamma, zoo/delta, zoo/omega"),
        ("path:/nowhere/m.gguf", "path:/nowhere/m.gguf: there is no file /nowhere/m.gguf"),
        ("path:/tmp", "path:/tmp: there is no file /tmp"),
        ("hf:m.gguf", "hf:m.gguf must read hf:OWNER/REPO[@REVISION]/FILE.gguf"),
        ("hf:owner/m.gguf", "hf:owner/m.gguf must read hf:OWNER/REPO[@REVISION]/FILE.gguf"),
        (
            "m.gguf",
            "there is no model 'm.gguf'; the catalogue has smollm2-135m-instruct, gemma3-270m, "
            f"and other models are {OTHERS}",
        ),
        ("no:m.gguf", f"'no:m.gguf' must be NAME of `testbed models`, {OTHERS.replace(', zoo', ' or zoo')}"),
    ],
)
def test_a_reference_to_nothing_is_refused_with_what_would_be_right(reference: str, sentence: str) -> None:
    with pytest.raises(ModelError) as refusal:
        resolve(reference)
    assert str(refusal.value) == sentence
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n" * 50, bytes(4096)], ids=["empty", "sh", "0"])
def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is not a readable GGUF model"):
        resolve(f"path:{path}")


@pytest.mark.parametrize("key", ["block_count", "head_count", "embedding_length"])
def test_a_gguf_without_what_is_needed_is_refused_by_the_name_of_the_key(tmp_path: Path, key: str) -> None:
    path = _write_gguf(tmp_path / f"{key}.gguf", **{key: None})
    with pytest.raises(ModelError, match=f"llama.*{key}"):
        resolve(f"path:{path}")


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_gguf_is_read_or_refused_and_never_worse(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    path = _write_gguf(tmp_path / f"{seed}.gguf")
    content = bytearray(path.read_bytes())
    if seed % 2:
        del content[draw.randrange(len(content)) :]
    else:
        for _ in range(3):
            content[draw.randrange(24, 200)] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    try:
        assert resolve(f"path:{path}").size == len(content)
    except ModelError as refusal:
        assert "\n" not in str(refusal)


MODEL = Model(
    "zoo/alpha", Path("/m"), "0" * 64, size=2 * MIB, layers=4, kv_width=4 * 64, vocabulary=1024, heads=4, inner=512
)


def test_what_a_node_needs_item_by_item() -> None:
    assert MODEL.memory(context=2048) == {
        "agent": AGENT_MEMORY,
        "weights": 2 * MIB,
        "tokenizer": 350 * 1024,
        "KV cache": 2 * 4 * 64 * 2048 * 2,
        "logits": 2 * 8 * 1024 * 4,
        "scratch": 512 * (2 * 4 * 2048 + 3 * 512) * 4,
    }
    assert MODEL.memory(context=64)["scratch"] == 64 * (2 * 4 * 64 + 3 * 512) * 4
    several = MODEL.memory(context=2048, slots=16)
    assert (several["KV cache"], several["logits"]) == (16 * 2 * 4 * 64 * 2048 * 2, 2 * 16 * 1024 * 4)


def test_a_model_fits_exactly_and_not_a_byte_less() -> None:
    needed = sum(MODEL.memory(2048).values())
    MODEL.check_fits("a", 2048, needed)
    with pytest.raises(ModelError):
        MODEL.check_fits("a", 2048, needed - 1)


def test_a_model_that_does_not_fit_is_refused_with_the_sum() -> None:
    with pytest.raises(ModelError) as refusal:
        MODEL.check_fits("a", 2048, 8 * MIB)
    agent = AGENT_MEMORY / MIB
    needed = agent + 2 + 350 / 1024 + 2 + 1 / 16 + 35
    assert str(refusal.value) == (
        f"node 'a' cannot hold zoo/alpha: agent {agent:.1f} + weights 2.0 + tokenizer 0.3 + KV cache 2.0 + logits 0.1 "
        f"+ scratch 35.0 = {needed:.1f} MiB, and its memory is 8MiB; give it more or take a smaller model"
    )


def test_heads_may_differ_from_layer_to_layer(tmp_path: Path) -> None:
    model = resolve(f"path:{_write_gguf(tmp_path / 'm.gguf', head_count_kv=[2, 1, 2, 1])}")
    assert model.kv_width == 6 * 32


def test_a_header_without_heads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its architecture 'llama' has layers whose state is no KV cache"):
        resolve(f"path:{_write_gguf(tmp_path / 'm.gguf', head_count=0)}")
