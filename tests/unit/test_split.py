"""Cutting a model into stages: what a plan is, what the files hold, and what is refused."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from small_models import Kind, Shape, finish, write_model
from typer.testing import CliRunner, Result

from testbed.cli import app
from testbed.models import zoo
from testbed.models.anatomy import ARCHITECTURES, dissect
from testbed.models.random_weights import RECIPES
from testbed.models.resolution import Model, ModelError, resolve
from testbed.models.sources.catalogue import entries
from testbed.models.split import StagePlan, split


def _model(path: Path, **shape: object) -> Model:
    return resolve(f"path:{write_model(path, Shape(**shape))}")  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return _model(tmp_path / "model.gguf", layers=4, kind=Kind.Q8_0, rope_factors=True)


def _tensors(*paths: Path) -> dict[str, bytes]:
    return {tensor.name: tensor.data.tobytes() for path in paths for tensor in GGUFReader(path).tensors}


def test_a_plan_is_how_many_layers_each_stage_has() -> None:
    plan = StagePlan((2, 1, 3))
    assert plan.ranges == (range(2), range(2, 3), range(3, 6))
    assert plan.total == 6
    assert str(plan) == "0-1,2-2,3-5"
    assert StagePlan.parse(str(plan)) == plan


def test_an_even_plan_leaves_the_last_stages_the_room_for_the_output_matrix() -> None:
    assert StagePlan.even(12, 3).layers == (4, 4, 4)
    assert StagePlan.even(22, 4).layers == (6, 6, 5, 5)
    assert StagePlan.even(3, 3).layers == (1, 1, 1)


@pytest.mark.parametrize("text", ["", "0-1,3-4", "1-2", "0-2,2-3", "0-1,", "2-0", "0-1;2-3", "a", "0-1,3-2"])
def test_a_plan_with_gaps_or_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="is no plan of stages") as refusal:
        StagePlan.parse(text)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("layers", [(), (0,), (2, 0, 1), (3, -1)])
def test_a_plan_with_an_empty_stage_is_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="at least one layer in each"):
        StagePlan(layers)


@pytest.mark.parametrize("stages", [0, -1, 5])
def test_more_stages_than_layers_are_refused(stages: int) -> None:
    with pytest.raises(ModelError, match="4 layers make 1 to 4 stages"):
        StagePlan.even(4, stages)


def test_a_plan_of_another_number_of_layers_is_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has 4 layers, and the plan 0-1,2-4 has 5"):
        split(model, StagePlan((2, 3)), tmp_path)


def test_every_tensor_of_a_layer_is_in_its_stage_untouched(model: Model, tmp_path: Path) -> None:
    whole = _tensors(model.path)
    for stage in split(model, StagePlan((1, 3)), tmp_path).stages:
        part = _tensors(stage.path)
        for number, layer in enumerate(stage.layers):
            own = {name: data for name, data in whole.items() if name.startswith(f"blk.{layer}.")}
            assert own
            for name, data in own.items():
                assert part[name.replace(f"blk.{layer}.", f"blk.{number}.")] == data


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_is_left_out_and_what_is_there_twice_is_known(architecture: str, tied: bool, tmp_path: Path) -> None:
    model = _model(tmp_path / "m.gguf", architecture=architecture, tied=tied, rope_factors=not tied)
    files = split(model, StagePlan((1, 1, 1)), tmp_path)
    whole = Counter(_tensors(model.path).values())
    parts = sum(
        (Counter(_tensors(path).values()) for path in (files.front, *(s.path for s in files.stages))), Counter[bytes]()
    )
    width = dissect(model).width
    placeholders = Counter({np.zeros(width, np.float16).tobytes(): 2, np.ones(width, np.float32).tobytes(): 2})
    again = Counter[bytes]()
    if tied:
        again[_tensors(files.front)["token_embd.weight"]] = 1
    else:
        again[_tensors(model.path)["rope_freqs.weight"]] = 2
    assert parts == whole + placeholders + again


def test_the_anatomy_adds_up_to_the_file(model: Model) -> None:
    anatomy = dissect(model)
    tensors = GGUFReader(model.path).tensors
    total = anatomy.embedding + sum(layer.size for layer in anatomy.layers) + anatomy.output + anatomy.shared
    assert total == sum(tensor.n_bytes for tensor in tensors)
    assert sum(layer.kv_width for layer in anatomy.layers) == model.kv_width
    assert (anatomy.architecture, anatomy.width, anatomy.vocabulary) == ("llama", 64, 320)


def test_the_size_of_a_stage_is_that_of_its_weights_and_a_header(model: Model, tmp_path: Path) -> None:
    anatomy = dissect(model)
    first, last = split(model, StagePlan((3, 1)), tmp_path).stages
    assert 0 < first.size - 3 * anatomy.layers[0].size < 10_000
    assert 0 < last.size - anatomy.layers[0].size - anatomy.output < 10_000


def test_a_stage_says_of_itself_what_the_model_does(model: Model, tmp_path: Path) -> None:
    stage = GGUFReader(split(model, StagePlan((1, 3)), tmp_path).stages[1].path)
    for name, field in GGUFReader(model.path).fields.items():
        if name.startswith("llama.") and name not in ("llama.block_count", "llama.vocab_size"):
            assert stage.fields[name].contents() == field.contents()
    assert stage.fields["llama.block_count"].contents() == 3
    assert stage.fields["general.name"].contents() == f"{model.reference}, layers 1-3 of 4"
    assert "tokenizer.ggml.tokens" not in stage.fields


def test_the_front_has_the_tokenizer_and_the_chat_template(model: Model, tmp_path: Path) -> None:
    front, whole = GGUFReader(split(model, StagePlan((4,)), tmp_path).front), GGUFReader(model.path)
    for name in ("tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.chat_template"):
        assert front.fields[name].contents() == whole.fields[name].contents()
    assert [tensor.name for tensor in front.tensors] == ["token_embd.weight"]


def _edited(
    source: Path, target: Path, without: str = "", extra: str = "", lists: dict[str, list[int]] | None = None
) -> Model:
    """A copy of a model without one tensor, with one that nobody knows, or with lists in its header."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", *(lists or ())):
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1])
    for key, values in (lists or {}).items():
        writer.add_key_value(key, values, GGUFValueType.ARRAY, GGUFValueType.UINT32)
    for tensor in reader.tensors:
        if not tensor.name.startswith(without or "nothing"):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    if extra:
        writer.add_tensor(extra, np.ones(32, np.float32))
    finish(writer)
    return resolve(f"path:{target}")


def test_a_number_for_every_layer_is_cut_to_those_of_the_stage(model: Model, tmp_path: Path) -> None:
    changed = _edited(model.path, tmp_path / "heads.gguf", lists={"llama.attention.head_count_kv": [1, 2, 3, 4]})
    stages = split(changed, StagePlan((1, 3)), tmp_path).stages
    heads = [GGUFReader(stage.path).fields["llama.attention.head_count_kv"].contents() for stage in stages]
    assert heads == [[1], [2, 3, 4]]


def test_a_list_as_of_its_layers_that_nobody_knows_is_refused_by_its_name(model: Model, tmp_path: Path) -> None:
    odd = _edited(model.path, tmp_path / "odd.gguf", lists={"llama.attention.window": [1, 2, 3, 4]})
    with pytest.raises(
        ModelError, match=r"cannot be split: llama\.attention\.window has a value for each layer and is unknown"
    ):
        split(odd, StagePlan((4,)), tmp_path)


@pytest.mark.parametrize("lost", ["output_norm.weight", "blk.2"])
def test_a_model_that_lacks_a_part_is_refused_by_its_name(lost: str, model: Model, tmp_path: Path) -> None:
    damaged = _edited(model.path, tmp_path / f"{lost}.gguf", without=lost)
    with pytest.raises(ModelError, match=f"cannot be split: its file has no {lost}"):
        split(damaged, StagePlan((4,)), tmp_path)


@pytest.mark.parametrize("extra", ["blk.4.attn_norm.weight", "per_layer_token_embd.weight"])
def test_a_tensor_that_has_no_place_is_refused_by_its_name(extra: str, model: Model, tmp_path: Path) -> None:
    odd = _edited(model.path, tmp_path / f"{extra}.gguf", extra=extra)
    with pytest.raises(ModelError, match=f"cannot be split: its tensor {extra} is unknown"):
        split(odd, StagePlan((4,)), tmp_path)


@pytest.mark.parametrize("architecture", ["gemma2", "phi3", "mamba"])
def test_another_architecture_is_refused_by_its_name(architecture: str, tmp_path: Path) -> None:
    model = _model(tmp_path / f"{architecture}.gguf", architecture=architecture)
    with pytest.raises(ModelError) as refusal:
        split(model, StagePlan((3,)), tmp_path)
    assert str(refusal.value) == (
        f"{model.reference} cannot be split: it is of the architecture {architecture!r}; "
        "known are llama, mistral3, qwen2, qwen3, gemma3"
    )


@pytest.mark.parametrize("stages", [(5, 7), (11, 1), (6, 5, 1)])
def test_a_stage_whose_windows_llama_cpp_cannot_make_is_refused(stages: tuple[int, ...], tmp_path: Path) -> None:
    model = _model(tmp_path / "gemma3.gguf", architecture="gemma3", layers=12)
    with pytest.raises(ModelError, match=r"layers \d+-11 cannot be a stage: which layers have a sliding window"):
        split(model, StagePlan(stages), tmp_path)


def test_files_are_found_again_and_shared_by_plans(model: Model, tmp_path: Path) -> None:
    first = split(model, StagePlan((2, 2)), tmp_path)
    written = {path: path.stat().st_mtime_ns for path in (first.front, *(stage.path for stage in first.stages))}
    second = split(model, StagePlan((2, 1, 1)), tmp_path)
    assert second.front == first.front
    assert second.stages[0] == first.stages[0]
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_another_model_has_other_files(model: Model, tmp_path: Path) -> None:
    other = _model(tmp_path / "other.gguf", layers=4)
    assert split(model, StagePlan((4,)), tmp_path).front != split(other, StagePlan((4,)), tmp_path).front


def test_files_go_to_the_cache(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    assert split(model, StagePlan((4,))).front.is_relative_to(tmp_path / "cache" / "stages")


def test_what_fails_half_way_leaves_no_file(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: GGUFWriter) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GGUFWriter, "write_kv_data_to_file", fail)
    with pytest.raises(ModelError, match=r"cannot be written: .*No space left on device"):
        split(model, StagePlan((4,)), tmp_path / "stages")
    assert [path for path in (tmp_path / "stages").rglob("*") if path.is_file()] == []


def _command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


@pytest.fixture
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_own_cache")
def test_the_command_shows_each_stage_with_its_layers_and_its_file() -> None:
    shown = _command("split", "zoo/alpha", "--stages", "3").output
    lines = [line.split() for line in shown.splitlines()[1:]]
    assert [(line[0], line[-1]) for line in lines[:-1]] == [
        ("front", "front.gguf"),
        ("0", "0-1.gguf"),
        ("1", "2-3.gguf"),
        ("2", "4-5.gguf"),
    ]
    assert (Path(lines[-1][0]) / "2-3.gguf").is_file()


@pytest.mark.usefixtures("_own_cache")
def test_the_command_follows_an_explicit_plan() -> None:
    files = json.loads(_command("split", "zoo/alpha", "--layers", "0-0,1-5", "--json").output)
    assert [stage["layers"] for stage in files["stages"]] == [[0, 0], [1, 5]]
    assert all(Path(stage["path"]).stat().st_size == stage["bytes"] for stage in [files["front"], *files["stages"]])


@pytest.mark.parametrize("options", [[], ["--stages", "2", "--layers", "0-5"]])
def test_the_command_takes_one_plan(options: list[str]) -> None:
    refusal = _command("split", "zoo/alpha", *options).exception
    assert str(refusal) == "models split: give either --stages or --layers"


@pytest.mark.usefixtures("_own_cache")
def test_without_a_verb_the_command_lists_the_models() -> None:
    models = json.loads(_command("--json").output)
    assert [model["reference"] for model in models] == [
        *(f"zoo/{name}" for name in zoo.NAMES),
        *entries(),
        *(f"synthetic:{name}" for name in RECIPES),
    ]
    assert {model["state"] for model in models} == {"comes along", "not fetched", "random weights"}
    assert all(model["synthetic"] == model["reference"].startswith("synthetic:") for model in models)
