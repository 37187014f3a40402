"""Models with random weights: of the real sizes, labelled, alike on every host, and fit to be run."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, dequantize
from rings import CONTEXT, Rings, whole

from testbed.core.errors import SpecError
from testbed.models import noise
from testbed.models.holdings import model_mistakes
from testbed.models.random_weights import ENCODINGS, RECIPES, ModelDimensions, Recipe
from testbed.models.resolution import ModelError, resolve
from testbed.models.split import StagePlan, split
from testbed.node.engine.model import ChatModel, Sampling
from testbed.node.engine.stage import Limits
from testbed.schema.scenario import load_scenario

SMALL = ModelDimensions("llama", 3, 256, 4, 2, 512, 2000, 1024, 10_000, 1e-5, tied=False, stretched=True)
SHAPES = {
    "small": SMALL,
    "tied": ModelDimensions("llama", 2, 256, 4, 2, 512, 2000, 1024, 10_000, 1e-5, tied=True),
    "biased": ModelDimensions("qwen2", 2, 96, 3, 1, 256, 2000, 1024, 10_000, 1e-6, tied=True, biased=True),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _recipe(name: str = "small", encoding: str = "q4_0") -> Recipe:
    return Recipe(f"{name}-{encoding}", SHAPES[name], ENCODINGS[encoding])


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("tinyllama-1.1b-q4_0", 1_100_048_384),
        ("llama-3.2-1b-q4_0", 1_235_814_400),
        ("llama-3.2-3b-q4_0", 3_212_749_824),
        ("qwen2.5-0.5b-q8_0", 494_032_768),
        ("microllama-300m-q8_0", 304_636_928),
    ],
)
def test_real_shapes_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    tensors = {tensor.name: tensor.rows * tensor.columns for tensor in RECIPES[name].tensors()}
    tensors.pop("rope_freqs.weight", None)  # computed, not trained
    assert sum(tensors.values()) == parameters


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", SHAPES)
def test_it_can_be_run_and_its_logits_are_sane(name: str, encoding: str) -> None:
    path = _recipe(name, encoding).drawn()
    logits = whole(path, range(4, 40), tokens=6)
    assert np.isfinite(logits).all()
    assert 0.5 < logits.std() < 2
    assert not np.array_equal(logits[0], whole(path, range(5, 41), tokens=1)[0])


def test_it_reads_prompts_as_the_zoo_does_and_writes_text() -> None:
    model, zoo = (ChatModel(path, CONTEXT, threads=1) for path in (_recipe().drawn(), resolve("zoo/alpha").path))
    chat = [{"role": "user", "content": "Name the capital city of Mupuland."}]
    answers = [model.complete(chat, Sampling(0.0, 8, seed=0), lambda _: None) for model in (model, zoo)]
    assert answers[0].prompt_tokens == answers[1].prompt_tokens
    assert answers[0].text


def test_its_stages_compute_what_it_computes(tmp_path: Path) -> None:
    path = _recipe().drawn()
    prompt = list(range(4, 40))
    with Rings(resolve(f"path:{path}"), tmp_path, Limits(CONTEXT, 1, 16, 1)) as rings:
        assert np.array_equal(rings.ring(StagePlan((1, 2))).draw([prompt], 6)[0], whole(path, prompt, 6))


def test_it_says_in_its_header_and_in_that_of_its_stages_that_it_is_random(tmp_path: Path) -> None:
    path = _recipe().drawn()
    model = resolve(f"path:{path}")
    assert model.synthetic
    assert not resolve("zoo/alpha").synthetic
    assert GGUFReader(path).fields["general.name"].contents() == "synthetic:small-q4_0, random weights"
    stage = GGUFReader(split(model, StagePlan((1, 2)), tmp_path).stages[0].path)
    assert stage.fields["testbed.synthetic"].contents() is True


def test_its_file_has_the_size_that_was_told_before() -> None:
    recipe = _recipe()
    written = sum(tensor.n_bytes for tensor in GGUFReader(recipe.drawn()).tensors)
    assert written == recipe.size


def test_it_is_drawn_once_and_always_the_same(cache: Path) -> None:
    first = _recipe().drawn()
    content, written = first.read_bytes(), first.stat().st_mtime_ns
    assert _recipe().drawn().stat().st_mtime_ns == written
    first.unlink()
    assert _recipe().drawn().read_bytes() == content
    assert [path.name for path in (cache / "models").iterdir()] == [first.name]


@pytest.mark.parametrize("kind", [GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q6_K])
def test_weights_have_the_deviation_asked_for_and_no_mean(kind: GGMLQuantizationType) -> None:
    values = dequantize(noise.draw("seed", kind, 64, 1024, 0.03), kind)
    assert values.shape == (64, 1024)
    assert values.std() == pytest.approx(0.03, rel=0.01)
    assert abs(values.mean()) < 4 * 0.03 / math.sqrt(values.size)
    assert not np.array_equal(values, dequantize(noise.draw("other", kind, 64, 1024, 0.03), kind))


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ModelError, match="synthetic:gpt-5: there is no such model; known are synthetic:microllama"):
        resolve("synthetic:gpt-5")


def test_checking_a_scenario_draws_nothing(files: Any, cache: Path) -> None:
    small = files.topology.replace("zoo/alpha", "synthetic:llama-3.2-1b-q8_0")
    topology = small.replace("160MiB", "4GiB", 1)
    scenario = files.scenario.replace("completed", "latency.p50").replace('">= 0.95"', '"< 9s"')
    assert list(model_mistakes(files.load(scenario=scenario, topology=topology))) == []
    assert not cache.exists()
    ((place, message),) = model_mistakes(files.load(scenario=scenario, topology=small))
    assert place == ("topology", "nodes", "a", "model")
    assert "node 'a' cannot hold synthetic:llama-3.2-1b-q8_0: agent 56.0 + weights 12" in message
    with pytest.raises(SpecError, match=r"nodes\.a.model: synthetic:gpt-5: there is no such model"):
        files.load(topology=files.topology.replace("zoo/alpha", "synthetic:gpt-5"))


def test_the_answers_of_random_weights_cannot_be_expected_to_be_right(files: Any) -> None:
    path = files.write(
        files.scenario.replace("completed", "accuracy"),
        files.topology.replace("zoo/alpha", "synthetic:tinyllama-1.1b-q4_0").replace("160MiB", "4GiB"),
    )
    with pytest.raises(SpecError) as refusal:
        load_scenario(path, [], model_mistakes)
    assert str(refusal.value) == (
        f"{path}:10: expect.accuracy: synthetic:tinyllama-1.1b-q4_0 has random weights, whose answers are neither "
        "right nor wrong; leave this out"
    )
