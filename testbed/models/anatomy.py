"""The parts of a model's file: the tensors of each part, and the sizes that a plan of stages needs.

front    the embedding of every token
layers   each layer's own tensors
end      the final norm and the output matrix, which may be the embedding's
shared   tensors that every layer uses, like the frequencies of rotary positions
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gguf import ReaderTensor
from gguf.gguf_writer import GGUFValue

from testbed.models.gguf_file import EMBEDDING, GgufFile, readable
from testbed.models.resolution import Model, ModelError
from testbed.models.windows import EVERYWHERE, Windows

ARCHITECTURES: Final = ("llama", "mistral3", "qwen2", "qwen3", "gemma3")
"""Architectures that can be split: a layer depends on hidden states and positions, and not on its own number.

In gemma3 it does: see :mod:`.windows`.
"""

_OTHER_SCALE: Final = {"gemma3": 62}
"""Numbers of layers from which llama.cpp tells a model whose attention it scales otherwise."""

FINAL_NORM: Final = "output_norm.weight"
_OUTPUT: Final = "output.weight"
_END: Final = (FINAL_NORM, _OUTPUT, "output.bias")
_SHARED: Final = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
_LAYER: Final = re.compile(r"blk\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Layer:
    """One layer: ``size`` of its weights in bytes, and the number of values in a token's keys that it caches."""

    size: int
    kv_width: int


@dataclass(frozen=True)
class Anatomy:
    """The sizes of a model's parts in bytes. ``output`` is the final norm and the output matrix, tied or not."""

    architecture: str
    width: int  # values in a hidden state
    vocabulary: int
    embedding: int
    layers: tuple[Layer, ...]
    output: int
    shared: int  # copied to every stage
    windows: Windows = EVERYWHERE


class Parts:
    """The tensors of a model's file by part."""

    def __init__(self, model: Model) -> None:
        """Read the file's header; raises ModelError if the model cannot be split."""
        self.model = model
        self.file = GgufFile(model.reference, model.path)
        self.architecture = self.file.architecture
        with readable(model.reference, model.path):
            self.width: int = self.file.value(f"{self.architecture}.embedding_length")
        if self.architecture not in ARCHITECTURES:
            raise self._refusal(
                f"it is of the architecture {self.architecture!r}; known are {', '.join(ARCHITECTURES)}"
            )
        if self.model.layers == _OTHER_SCALE.get(self.architecture):
            raise self._refusal(f"llama.cpp takes the scale of its attention from its {self.model.layers} layers")
        self._named = {tensor.name: tensor for tensor in self.file.tensors}
        self.layers = self._layers()
        known = {EMBEDDING, *_END, *_SHARED, *(tensor.name for layer in self.layers for tensor in layer.values())}
        if unknown := sorted(self._named.keys() - known):
            raise self._refusal(f"its tensor {unknown[0]} is unknown")

    @cached_property
    def header(self) -> dict[str, GGUFValue]:
        """The file's metadata by key, without the architecture and empty lists."""
        with readable(self.model.reference, self.model.path):
            return {
                name: GGUFValue(found.contents(), found.types[0], found.types[-1])
                for name, found in self.file.fields.items()
                if name != "general.architecture" and len(found.data)
            }

    @property
    def embedding(self) -> ReaderTensor:
        """The matrix with the embedding of every token."""
        return self._named[EMBEDDING]

    @property
    def end(self) -> dict[str, ReaderTensor]:
        """The tensors after the last layer, by name. The output matrix has the embedding's name, tied or not.

        llama.cpp requires an embedding in every model and uses it as the output matrix if there is no other. So the
        last stage holds one matrix instead of two.
        """
        end = self._those(_END)
        return {EMBEDDING: end.pop(_OUTPUT, self.embedding), **end}

    @property
    def shared(self) -> dict[str, ReaderTensor]:
        """The tensors that every layer uses, by name."""
        return self._those(_SHARED)

    def _those(self, names: Iterable[str]) -> dict[str, ReaderTensor]:
        return {name: self._named[name] for name in names if name in self._named}

    def _layers(self) -> list[dict[str, ReaderTensor]]:
        """The tensors of each layer, by name within the layer."""
        found: defaultdict[int, dict[str, ReaderTensor]] = defaultdict(dict)
        for name, tensor in self._named.items():
            if match := _LAYER.fullmatch(name):
                found[int(match[1])][match[2]] = tensor
        missing = [] if FINAL_NORM in self._named else [FINAL_NORM]
        missing += [f"blk.{layer}" for layer in range(self.model.layers) if layer not in found]
        if missing:
            raise self._refusal(f"its file has no {missing[0]}")
        return [found[layer] for layer in range(self.model.layers)]

    def _refusal(self, reason: str) -> ModelError:
        return ModelError(f"{self.model.reference} cannot be split: {reason}")


def dissect(model: Model) -> Anatomy:
    """The sizes of the parts of ``model``; raises ModelError if it cannot be split."""
    parts = Parts(model)
    return Anatomy(
        architecture=parts.architecture,
        width=parts.width,
        vocabulary=model.vocabulary,
        embedding=parts.embedding.n_bytes,
        layers=tuple(
            Layer(size_of(layer.values()), width)
            for layer, width in zip(parts.layers, parts.file.kv_widths, strict=True)
        ),
        output=size_of(parts.end.values()),
        shared=size_of(parts.shared.values()),
        windows=Windows.of(parts.file),
    )


def size_of(tensors: Iterable[ReaderTensor]) -> int:
    """The total size of tensors, in bytes."""
    return sum(int(tensor.n_bytes) for tensor in tensors)
