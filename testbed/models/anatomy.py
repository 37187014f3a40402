"""What a model's file is made of: the tensors of each part, and from them what a plan of stages can reckon with.

front    the embedding of every token
layers   each layer's own tensors
end      the final norm and the output matrix, which may be the embedding's
shared   what every layer uses, like the frequencies of rotary positions
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gguf import GGUFReader, ReaderTensor
from gguf.gguf_writer import GGUFValue

from testbed.models.resolution import Model, ModelError, field, kv_widths, readable

ARCHITECTURES: Final = ("llama", "mistral3", "qwen2", "qwen3")
"""What can be split: all that a layer takes is a hidden state and positions, and it does not ask for its own number."""

EMBEDDING: Final = "token_embd.weight"
FINAL_NORM: Final = "output_norm.weight"
_OUTPUT: Final = "output.weight"
_END: Final = (FINAL_NORM, _OUTPUT, "output.bias")
_SHARED: Final = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
_LAYER: Final = re.compile(r"blk\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Layer:
    """One layer: its weights in bytes, and how many values of a token's keys it caches (and as many of its values)."""

    size: int
    kv_width: int


@dataclass(frozen=True)
class Anatomy:
    """A model's parts in bytes. ``output``: the final norm and the output matrix, even if that is the embedding's."""

    architecture: str
    width: int  # values of a hidden state
    vocabulary: int
    embedding: int
    layers: tuple[Layer, ...]
    output: int
    shared: int  # what every stage has a copy of


class Parts:
    """The tensors of a model's file, by the part that they belong to."""

    def __init__(self, model: Model) -> None:
        """Read the file's header; raises ModelError where it cannot be split."""
        self.model = model
        with readable(model.reference, model.path):
            self.reader = GGUFReader(model.path)
            self.architecture: str = field(self.reader, "general.architecture")
            self.width: int = field(self.reader, f"{self.architecture}.embedding_length")
        if self.architecture not in ARCHITECTURES:
            raise self._refusal(
                f"it is of the architecture {self.architecture!r}, and what can be split is {', '.join(ARCHITECTURES)}"
            )
        self._named = {tensor.name: tensor for tensor in self.reader.tensors}
        self.layers = self._layers()
        known = {EMBEDDING, *_END, *_SHARED, *(tensor.name for layer in self.layers for tensor in layer.values())}
        if unknown := sorted(self._named.keys() - known):
            raise self._refusal(f"nothing is known of its tensor {unknown[0]}")

    @cached_property
    def header(self) -> dict[str, GGUFValue]:
        """What the file says of the model, by key: all but its architecture, and lists of nothing."""
        with readable(self.model.reference, self.model.path):
            return {
                name: GGUFValue(found.contents(), found.types[0], found.types[-1])
                for name, found in self.reader.fields.items()
                if not name.startswith("GGUF.") and name != "general.architecture" and len(found.data)
            }

    @property
    def embedding(self) -> ReaderTensor:
        """The embedding of every token."""
        return self._named[EMBEDDING]

    @property
    def end(self) -> dict[str, ReaderTensor]:
        """What follows the last layer, by name. The output matrix goes by the embedding's, whether it is that or not.

        llama.cpp wants an embedding in every model and takes it for the output matrix where there is no other: so the
        end holds one matrix and not two.
        """
        end = self._those(_END)
        return {EMBEDDING: end.pop(_OUTPUT, self.embedding), **end}

    @property
    def shared(self) -> dict[str, ReaderTensor]:
        """What every layer uses, by name."""
        return self._those(_SHARED)

    def _those(self, names: Iterable[str]) -> dict[str, ReaderTensor]:
        return {name: self._named[name] for name in names if name in self._named}

    def _layers(self) -> list[dict[str, ReaderTensor]]:
        """Each layer's tensors, by what they are called within it."""
        found: defaultdict[int, dict[str, ReaderTensor]] = defaultdict(dict)
        for name, tensor in self._named.items():
            if match := _LAYER.fullmatch(name):
                found[int(match[1])][match[2]] = tensor
        missing = [name for name in (EMBEDDING, FINAL_NORM) if name not in self._named]
        missing += [f"blk.{layer}" for layer in range(self.model.layers) if layer not in found]
        if missing:
            raise self._refusal(f"its file has no {missing[0]}")
        return [found[layer] for layer in range(self.model.layers)]

    def _refusal(self, reason: str) -> ModelError:
        return ModelError(f"{self.model.reference} cannot be split: {reason}")


def dissect(model: Model) -> Anatomy:
    """Read the parts of ``model``; raises ModelError for what cannot be split."""
    parts = Parts(model)
    return Anatomy(
        architecture=parts.architecture,
        width=parts.width,
        vocabulary=model.vocabulary,
        embedding=parts.embedding.n_bytes,
        layers=tuple(
            Layer(size_of(layer.values()), width)
            for layer, width in zip(parts.layers, kv_widths(parts.reader), strict=True)
        ),
        output=size_of(parts.end.values()),
        shared=size_of(parts.shared.values()),
    )


def size_of(tensors: Iterable[ReaderTensor]) -> int:
    """The bytes of some tensors."""
    return sum(int(tensor.n_bytes) for tensor in tensors)
