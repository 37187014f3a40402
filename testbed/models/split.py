"""Splits a model into the stages of a ring: one GGUF file for each stage, and one for the front.

    front     the tokenizer, the chat template and the embedding of every token
    stage 0   the first layers: embeddings in, hidden states out
    stage 1…  the next layers: hidden states in, hidden states out
    the last  the last layers, the final norm and the output matrix: hidden states in, logits out

The first node of a ring has the front in addition to its stage. Weights are copied without requantization. To llama.cpp
each stage is a complete model without a tokenizer. Stages before the last therefore have an embedding of one token and
a final norm, neither of which is used.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter
from gguf.gguf_writer import GGUFValue
from numpy.typing import NDArray

from testbed.core.cache import appearing, cache_folder
from testbed.models.anatomy import FINAL_NORM, Parts
from testbed.models.gguf_file import EMBEDDING
from testbed.models.resolution import Model, ModelError
from testbed.models.windows import PERIOD, Windows, refused_layers

_FORMAT: Final = 1
"""Version of the files, part of their path: files of older versions are not reused."""

_ONE_PER_LAYER: Final = (
    "attention.head_count",
    "attention.head_count_kv",
    "expert_used_count",
    "feed_forward_length",
)
"""Keys of a header that may hold a list with one number for each layer."""

Data = tuple[NDArray[Any], GGMLQuantizationType]
"""A tensor's values and their encoding."""


@dataclass(frozen=True)
class StagePlan:
    """The number of layers of each stage, in order. Every layer of the model is in exactly one stage."""

    layers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 1:
            raise ModelError(f"a plan of stages needs at least one layer in each, not {list(self.layers)}")

    @classmethod
    def even(cls, layers: int, stages: int) -> "StagePlan":
        """A plan of equal stages. The remainder goes to the first ones, because the last one has the output matrix.

        Raises ModelError unless each stage gets at least one layer.
        """
        if not 1 <= stages <= layers:
            raise ModelError(f"{layers} layers make 1 to {layers} stages, not {stages}")
        each, rest = divmod(layers, stages)
        return cls(tuple(each + (stage < rest) for stage in range(stages)))

    @classmethod
    def parse(cls, text: str) -> "StagePlan":
        """The plan in a text like ``0-5,6-11``, the first and last layer of each stage; raises ModelError."""
        written = [re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part) for part in text.split(",")]
        stages = [(int(part[1]), int(part[2] or part[1])) for part in written if part]
        follow = all(begin == end + 1 for (_, end), (begin, _) in pairwise([(-1, -1), *stages]))
        if len(stages) < len(written) or not follow or any(begin > end for begin, end in stages):
            raise ModelError(
                f"{text!r} is no plan of stages: give the first and the last layer of each, one after the other "
                "from layer 0 on, like 0-5,6-11"
            )
        return cls(tuple(end - begin + 1 for begin, end in stages))

    @property
    def total(self) -> int:
        """The number of layers of all stages together."""
        return sum(self.layers)

    @property
    def ranges(self) -> tuple[range, ...]:
        """The layers of each stage, as numbers in the model, from 0."""
        return tuple(range(begin, end) for begin, end in pairwise(accumulate(self.layers, initial=0)))

    def __str__(self) -> str:
        return ",".join(written(layers) for layers in self.ranges)


@dataclass(frozen=True)
class StageFile:
    """The file of one stage. ``size`` is in bytes, all that the stage loads of the model."""

    path: Path
    layers: range
    size: int


@dataclass(frozen=True)
class StageFiles:
    """The files of a model that is split by ``plan``."""

    model: Model
    plan: StagePlan
    front: Path
    stages: tuple[StageFile, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.reference,
            "front": {"path": str(self.front), "bytes": self.front.stat().st_size},
            "stages": [
                {"layers": [stage.layers[0], stage.layers[-1]], "path": str(stage.path), "bytes": stage.size}
                for stage in self.stages
            ],
        }


def split(model: Model, plan: StagePlan, folder: Path | None = None) -> StageFiles:
    """The files of ``model`` split by ``plan``, written unless they exist.

    They are in ``folder``, by default in the cache. Names depend on the model's content and the layers, so plans share
    files. Raises ModelError if the model cannot be split or has another number of layers than ``plan``.
    """
    if plan.total != model.layers:
        raise ModelError(
            f"{model.reference} has {model.layers} layers, and the plan {plan} has {plan.total}; plan for each layer"
        )
    parts = Parts(model)
    place = (folder or cache_folder() / "stages") / f"{model.sha256[:16]}-{_FORMAT}"
    try:
        return StageFiles(
            model, plan, _front(parts, place), tuple(_stage(parts, place, layers) for layers in plan.ranges)
        )
    except OSError as error:
        raise ModelError(f"the stages of {model.reference} cannot be written: {error}") from error


def _front(parts: Parts, place: Path) -> Path:
    path = place / "front.gguf"
    if not path.exists():
        embedding = parts.embedding
        _write(path, parts.architecture, parts.header, {embedding.name: (embedding.data, embedding.tensor_type)})
    return path


def _stage(parts: Parts, place: Path, layers: range) -> StageFile:
    path = place / f"{written(layers)}.gguf"
    if not path.exists():
        own = {f"blk.{i}.{name}": tensor for i, n in enumerate(layers) for name, tensor in parts.layers[n].items()}
        copied = {**parts.shared, **own} | (parts.end if layers.stop == len(parts.layers) else {})
        tensors = {name: (tensor.data, tensor.tensor_type) for name, tensor in copied.items()}
        tensors = {**_placeholders(parts.width), **tensors}
        _write(path, parts.architecture, _stage_header(parts, layers, len(tensors[EMBEDDING][0])), tensors)
    return StageFile(path, layers, path.stat().st_size)


def _placeholders(width: int) -> dict[str, Data]:
    """Tensors that llama.cpp requires of every model and that a stage before the last does not use."""
    return {
        EMBEDDING: (np.zeros((1, width), np.float16), GGMLQuantizationType.F16),
        FINAL_NORM: (np.ones(width, np.float32), GGMLQuantizationType.F32),
    }


def _stage_header(parts: Parts, layers: range, vocabulary: int) -> dict[str, GGUFValue]:
    """The model's header without the tokenizer, for the layers of one stage."""
    architecture = parts.architecture
    header = {
        key: _of_layers(parts, key, layers)
        for key in parts.header
        if key.startswith(("general.", "testbed.", f"{architecture}."))
    }
    windows = Windows.of(parts.file)
    if windows.period:
        period = windows.of_stage(layers)
        if period is None:
            raise ModelError(f"{parts.model.reference}: {refused_layers(layers)}")
        header[f"{architecture}.{PERIOD}"] = GGUFValue(period, GGUFValueType.UINT32)
    name = f"{parts.model.reference}, layers {written(layers)} of {len(parts.layers)}"
    return header | {
        "general.name": GGUFValue(name, GGUFValueType.STRING),
        "tokenizer.ggml.model": GGUFValue("no_vocab", GGUFValueType.STRING),
        f"{architecture}.block_count": GGUFValue(len(layers), GGUFValueType.UINT32),
        f"{architecture}.vocab_size": GGUFValue(vocabulary, GGUFValueType.UINT32),
    }


def _of_layers(parts: Parts, key: str, layers: range) -> GGUFValue:
    """The value of ``key`` for ``layers``, a part of it if it is a list with one number for each layer."""
    value = parts.header[key]
    if value.type is not GGUFValueType.ARRAY or len(value.value) != len(parts.layers):
        return value
    if key.removeprefix(f"{parts.architecture}.") not in _ONE_PER_LAYER:
        raise ModelError(f"{parts.model.reference} cannot be split: {key} has a value for each layer and is unknown")
    return replace(value, value=value.value[layers.start : layers.stop])


def _write(path: Path, architecture: str, header: Mapping[str, GGUFValue], tensors: Mapping[str, Data]) -> None:
    with appearing(path) as unfinished:
        writer = GGUFWriter(unfinished, architecture)
        for key, entry in header.items():
            writer.add_key_value(key, entry.value, entry.type, entry.sub_type)
        for name, (data, kind) in tensors.items():
            writer.add_tensor(name, data, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def written(layers: range) -> str:
    """The first and the last of ``layers``: ``0-5``, ``6-6``."""
    return f"{layers[0]}-{layers[-1]}"
