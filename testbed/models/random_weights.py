"""Synthetic models: the dimensions of real models with random weights, to measure throughput and memory.

A synthetic model computes as much and needs as much memory as the model that it is named after. Its answers are neither
right nor wrong. Its tokenizer is the zoo's, extended to the real vocabulary by numbers as tokens.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType, TokenType
from numpy.typing import NDArray

from testbed.core.cache import appearing, cache_folder
from testbed.models import noise, zoo
from testbed.models.header import write_dimensions

MARK: Final = "testbed.synthetic"
"""The key of a file's header that marks random weights."""

PREFIX: Final = "synthetic:"
"""The prefix of references to these models."""

_FORMAT: Final = 1
"""Version of the files, part of their names: files of older versions are not reused."""

_Kind = GGMLQuantizationType


@dataclass(frozen=True)
class ModelDimensions:
    """The dimensions of a model, as published by its authors."""

    architecture: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    context: int
    rope_base: float
    epsilon: float
    tied: bool  # the output matrix is the embedding
    biased: bool = False  # queries, keys and values
    stretched: bool = False  # rotary positions as in Llama 3.2

    @property
    def head_width(self) -> int:
        """The number of values in a head."""
        return self.width // self.heads


_SHAPES: Final = {
    # config.json of keeeeenw/MicroLlama
    "microllama-300m": ModelDimensions("llama", 12, 1024, 16, 4, 5632, 32000, 2048, 10_000, 1e-5, tied=False),
    # config.json of TinyLlama/TinyLlama-1.1B-Chat-v1.0
    "tinyllama-1.1b": ModelDimensions("llama", 22, 2048, 32, 4, 5632, 32000, 2048, 10_000, 1e-5, tied=False),
    # config.json of meta-llama/Llama-3.2-1B
    "llama-3.2-1b": ModelDimensions(
        "llama", 16, 2048, 32, 8, 8192, 128256, 131072, 5e5, 1e-5, tied=True, stretched=True
    ),
    # config.json of meta-llama/Llama-3.2-3B
    "llama-3.2-3b": ModelDimensions(
        "llama", 28, 3072, 24, 8, 8192, 128256, 131072, 5e5, 1e-5, tied=True, stretched=True
    ),
    # config.json of Qwen/Qwen2.5-0.5B
    "qwen2.5-0.5b": ModelDimensions("qwen2", 24, 896, 14, 2, 4864, 151936, 32768, 1e6, 1e-6, tied=True, biased=True),
    # no real model's: that of the measurements in docs/pipeline.md
    "bench-195m": ModelDimensions("llama", 16, 1024, 16, 4, 3072, 1024, 2048, 10_000, 1e-5, tied=False),
}


@dataclass(frozen=True)
class Encoding:
    """The encoding of matrices in llama.cpp's quantization of this name; ``output`` needs rows of 256 values."""

    file_type: LlamaFileType
    matrices: _Kind
    output: _Kind


ENCODINGS: Final = {
    "q4_0": Encoding(LlamaFileType.MOSTLY_Q4_0, _Kind.Q4_0, _Kind.Q6_K),
    "q8_0": Encoding(LlamaFileType.MOSTLY_Q8_0, _Kind.Q8_0, _Kind.Q8_0),
}


@dataclass(frozen=True)
class Tensor:
    """A tensor to be drawn with ``deviation``, or one with fixed ``values``."""

    name: str
    rows: int
    columns: int
    kind: _Kind
    deviation: float = 0.0
    values: NDArray[np.float32] | None = None

    @property
    def size(self) -> int:
        """The encoded size in bytes."""
        block, size = GGML_QUANT_SIZES[self.kind]
        return self.rows * self.columns // block * size


@dataclass(frozen=True)
class Recipe:
    """One synthetic model. Its name is ``MODEL-ENCODING``."""

    name: str
    shape: ModelDimensions
    encoding: Encoding

    @property
    def reference(self) -> str:
        """The model's name in a topology."""
        return f"{PREFIX}{self.name}"

    @property
    def size(self) -> int:
        """The size of the weights in bytes, without the file's header."""
        return sum(tensor.size for tensor in self.tensors())

    def as_dict(self) -> dict[str, Any]:
        shape = self.shape
        return {
            "reference": self.reference,
            "size": self.size,
            "layers": shape.layers,
            "kv_width": shape.layers * shape.kv_heads * shape.head_width,
            "vocabulary": shape.vocabulary,
            "synthetic": True,
        }

    @property
    def path(self) -> Path:
        """The place of the file in the cache."""
        return cache_folder() / "models" / f"{self.name}-{_FORMAT}.gguf"

    def drawn(self) -> Path:
        """The file in the cache, drawn if it is missing; raises OSError."""
        if not self.path.exists():
            with appearing(self.path) as unfinished:
                self._write(unfinished)
        return self.path

    def tensors(self) -> Iterator[Tensor]:
        """The tensors in the order of the file."""
        shape, width = self.shape, self.shape.width
        queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        output = self.encoding.output if width % 256 == 0 else _Kind.Q8_0
        yield self._matrix("token_embd", shape.vocabulary, width, kind=output if shape.tied else None)
        yield _vector("output_norm.weight", np.ones(width, np.float32))
        if not shape.tied:
            yield self._matrix("output", shape.vocabulary, width, kind=output)
        if shape.stretched:
            yield _vector("rope_freqs.weight", _stretched(shape))
        into_stream = 1 / math.sqrt(2 * shape.layers)  # keeps the residual stream's size over all layers
        for layer in (f"blk.{number}." for number in range(shape.layers)):
            yield _vector(f"{layer}attn_norm.weight", np.ones(width, np.float32))
            for name, rows in (("attn_q", queries), ("attn_k", keys), ("attn_v", keys)):
                yield self._matrix(layer + name, rows, width)
                if shape.biased:
                    yield _vector(f"{layer}{name}.bias", np.zeros(rows, np.float32))
            yield self._matrix(f"{layer}attn_output", width, queries, into_stream)
            yield _vector(f"{layer}ffn_norm.weight", np.ones(width, np.float32))
            yield self._matrix(f"{layer}ffn_gate", shape.feed_forward, width)
            yield self._matrix(f"{layer}ffn_up", shape.feed_forward, width)
            yield self._matrix(f"{layer}ffn_down", width, shape.feed_forward, into_stream)

    def _matrix(self, name: str, rows: int, columns: int, factor: float = 1, kind: _Kind | None = None) -> Tensor:
        """A matrix that preserves the mean size of a vector's values, times ``factor``."""
        return Tensor(f"{name}.weight", rows, columns, kind or self.encoding.matrices, factor / math.sqrt(columns))

    def _write(self, path: Path) -> None:
        """Write the file tensor by tensor, since it may be larger than the memory."""
        writer = GGUFWriter(path, self.shape.architecture)
        self._describe(writer)
        _copy_tokenizer(writer, self.shape.vocabulary)
        for tensor in self.tensors():
            shape = (tensor.rows, tensor.size // tensor.rows) if tensor.values is None else tensor.values.shape
            dtype = np.dtype(np.uint8 if tensor.values is None else np.float32)
            writer.add_tensor_info(tensor.name, shape, dtype, tensor.size, tensor.kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in self.tensors():
            writer.write_tensor_data(self._drawn(tensor))
        writer.close()

    def _drawn(self, tensor: Tensor) -> NDArray[Any]:
        if tensor.values is not None:
            return tensor.values
        return noise.draw(f"{self.name}/{tensor.name}", tensor.kind, tensor.rows, tensor.columns, tensor.deviation)

    def _describe(self, writer: GGUFWriter) -> None:
        writer.add_name(f"{self.reference}, random weights")
        writer.add_bool(MARK, True)
        writer.add_file_type(self.encoding.file_type)
        writer.add_quantization_version(2)
        write_dimensions(writer, self.shape)


RECIPES: Final = {
    f"{name}-{quantization}": Recipe(f"{name}-{quantization}", shape, encoding)
    for name, shape in _SHAPES.items()
    for quantization, encoding in ENCODINGS.items()
}
"""The synthetic models by name."""


def _vector(name: str, values: NDArray[np.float32]) -> Tensor:
    return Tensor(name, 1, len(values), _Kind.F32, values=values)


def _stretched(shape: ModelDimensions) -> NDArray[np.float32]:
    """Llama 3.2's divisors of the rotary frequencies, from 1 for high frequencies to 32 for low ones."""
    factor, low, high, context = 32, 1, 4, 8192
    turns = context * shape.rope_base ** -(np.arange(0, shape.head_width, 2) / shape.head_width) / (2 * math.pi)
    share = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - share) / factor + share)).astype(np.float32)


def _copy_tokenizer(writer: GGUFWriter, vocabulary: int) -> None:
    """Copy the zoo's tokenizer, and fill the vocabulary up with numbers as tokens."""
    filled: dict[str, list[Any]] = {
        "tokenizer.ggml.tokens": [f"Ġ{number}" for number in range(vocabulary)],
        "tokenizer.ggml.token_type": [TokenType.NORMAL] * vocabulary,
    }
    for name, field in GGUFReader(zoo.path(zoo.NAMES[0])).fields.items():
        if name.startswith("tokenizer."):
            value = field.contents()
            if name in filled:
                value += filled[name][len(value) :]
            writer.add_key_value(name, value, field.types[0], field.types[-1])
