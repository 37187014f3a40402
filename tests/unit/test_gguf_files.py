"""Kinds of GGUF files that users have: in parts, cut off, without weights, of architectures that no node can run."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from small_models import Shape, finish, write_model

from testbed.models import zoo
from testbed.models.holdings import provide
from testbed.models.resolution import Model, ModelError, resolve
from testbed.models.split import StagePlan, split
from testbed.node import config as places
from testbed.node.engine.model import ChatModel, Sampling
from testbed.schema.scenario import Scenario


def _in_parts(source: Path, folder: Path, tensors: int) -> list[Path]:
    """The model in parts of so many tensors, as llama.cpp's own tool names them."""
    folder.mkdir()
    reader = GGUFReader(source)
    writer = GGUFWriter(folder / "m.gguf", "llama", split_max_tensors=tensors)
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    finish(writer)
    return sorted(folder.glob("m-*.gguf"))


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m.gguf", Shape())


@pytest.fixture
def parts(whole: Path, tmp_path: Path) -> list[Path]:
    return _in_parts(whole, tmp_path / "parts", 12)


def _header(path: Path, architecture: str, **keys: int | list[int] | bool) -> Path:
    """A file with ``keys`` of an architecture and one tensor, ``token_embd.weight``."""
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(4)
    writer.add_embedding_length(256)
    for key, value in keys.items():
        getattr(writer, f"add_{key}")(value)
    writer.add_token_list(["a", "b", "c"])
    writer.add_tensor("token_embd.weight", np.zeros((2, 4), np.float32))
    finish(writer)
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(ModelError) as refusal:
        resolve(f"path:{path}")
    assert refusal.value.exit_code == 2
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_all_parts_of_a_model_are_found_hashed_and_counted(whole: Path, parts: list[Path]) -> None:
    assert len(parts) == 3
    content = b"".join(part.read_bytes() for part in parts)
    model, one = resolve(f"path:{parts[0]}"), resolve(f"path:{whole}")
    assert [model.path, *model.further_parts] == parts
    assert model.size == len(content)
    assert model.sha256 == hashlib.sha256(content).hexdigest()
    assert (model.layers, model.kv_width, model.vocabulary) == (one.layers, one.kv_width, one.vocabulary)


def test_a_node_gets_all_parts_under_names_that_llama_cpp_takes(parts: list[Path], scenario: Scenario) -> None:
    holding = provide(scenario, {"a": resolve(f"path:{parts[0]}")}, {}, print)["a"]
    assert list(holding.files) == places.model_files(3)
    assert list(holding.files.values()) == parts
    assert str(places.model_files(3)[1]) == "/model-00002-of-00003.gguf"
    assert places.model_files(1) == [places.MODEL]


def test_a_model_in_parts_answers_as_the_whole_one(whole: Path, parts: list[Path]) -> None:
    answers = [
        ChatModel(path, context=64, threads=1).complete([{"role": "user", "content": "Hi"}], Sampling(0, 8, 1), _ignore)
        for path in (whole, parts[0])
    ]
    assert answers[0].tokens == answers[1].tokens


def _ignore(*_: object) -> None:
    pass


def test_a_model_in_parts_splits_into_the_same_weights(whole: Path, parts: list[Path], tmp_path: Path) -> None:
    def weights(model: Model) -> list[dict[str, bytes]]:
        files = split(model, StagePlan((1, 2)), tmp_path / "stages")
        paths = [files.front, *(stage.path for stage in files.stages)]
        return [{tensor.name: tensor.data.tobytes() for tensor in GGUFReader(path).tensors} for path in paths]

    assert weights(resolve(f"path:{parts[0]}")) == weights(resolve(f"path:{whole}"))


def test_another_than_the_first_part_is_refused_with_the_first(parts: list[Path]) -> None:
    assert "m-00002-of-00003.gguf is one of 3 parts; name the first, m-00001-of-00003.gguf" in _refusal(parts[1])


def test_a_missing_part_is_named(parts: list[Path]) -> None:
    parts[1].unlink()
    assert f"its part {parts[1]} is missing" in _refusal(parts[0])


def test_a_part_under_another_name_is_refused(parts: list[Path]) -> None:
    renamed = parts[0].rename(parts[0].with_name("model.gguf"))
    assert "says that it is one of 3 parts; keep the parts' names" in _refusal(renamed)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_half_a_file_is_called_incomplete(share: float, whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    cut = tmp_path / f"cut-{share}.gguf"
    cut.write_bytes(content[: int(len(content) * share)])
    assert f"{cut} is incomplete: it ends after {cut.stat().st_size} bytes" in _refusal(cut)


def test_a_tokenizer_without_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocab.gguf"
    reader, writer = GGUFReader(zoo.path("alpha")), GGUFWriter(path, "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert _refusal(path).endswith("cannot be run: its file has a header and no weights; take the whole model")


def test_weights_without_an_embedding_are_refused(tmp_path: Path) -> None:
    """Such as an adapter's."""
    path = tmp_path / "adapter.gguf"
    writer = GGUFWriter(path, "llama")
    for key, value in (("block_count", 2), ("embedding_length", 8), ("head_count", 2)):
        getattr(writer, f"add_{key}")(value)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.zeros((2, 4), np.float32))
    finish(writer)
    assert "its file has no token_embd.weight, so it is no whole model" in _refusal(path)


@pytest.mark.parametrize(
    ("architecture", "keys"),
    [
        ("mamba", {"head_count": 0, "ssm_state_size": 16}),
        ("rwkv7", {"head_count": 0, "wkv_head_size": 64}),
        ("jamba", {"head_count": 8, "head_count_kv": [0, 2, 0, 2], "ssm_state_size": 16}),
        ("mine", {"head_count": 0}),
    ],
)
def test_layers_with_another_state_than_a_cache_are_refused_by_the_architecture(
    architecture: str, keys: dict[str, int | list[int]], tmp_path: Path
) -> None:
    path = _header(tmp_path / f"{architecture}.gguf", architecture, **keys)
    assert f"its architecture '{architecture}' has layers whose state is no KV cache" in _refusal(path)


@pytest.mark.parametrize(("architecture", "keys"), [("bert", {"causal_attention": False}), ("t5", {})])
def test_what_writes_no_text_is_refused_by_the_architecture(
    architecture: str, keys: dict[str, bool], tmp_path: Path
) -> None:
    path = _header(tmp_path / f"{architecture}.gguf", architecture, head_count=4, **keys)
    assert f"its architecture '{architecture}' continues no texts" in _refusal(path)


def test_layers_without_keys_take_no_cache(tmp_path: Path) -> None:
    """Two of four layers attend, each with two heads of 256 / 8 values."""
    path = _header(tmp_path / "lfm2.gguf", "lfm2", head_count=8, head_count_kv=[0, 2, 0, 2])
    assert resolve(f"path:{path}").kv_width == 2 * 2 * 32
