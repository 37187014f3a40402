"""Small random models of every architecture that can be split, in the form in which real ones come: as GGUF files."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize
from llama_cpp import llama_cpp
from numpy.typing import NDArray

from testbed.models.header import write_dimensions

Kind = GGMLQuantizationType

_CONTROL = ("<unk>", "<s>", "</s>")


@dataclass(frozen=True)
class Shape:
    """A model. ``kind`` is how its matrices are encoded, but for the embedding and the output if others are named."""

    architecture: str = "llama"
    layers: int = 3
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    head_width: int = 16
    feed_forward: int = 96
    vocabulary: int = 320
    context: int = 1024
    rope_base: float = 10_000.0
    epsilon: float = 1e-5
    kind: Kind = Kind.F32
    output_kind: Kind | None = None
    tied: bool = False
    rope_factors: bool = False
    experts: int = 0

    @property
    def biased(self) -> bool:
        return self.architecture == "qwen2"

    @property
    def normed(self) -> bool:
        return self.architecture in ("qwen3", "gemma3")

    @property
    def renormed(self) -> bool:
        """Whether the outputs of attention and feed-forward network are normalized."""
        return self.architecture == "gemma3"


def finish(writer: GGUFWriter) -> None:
    """Write to the file what the writer was given, and close it."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_model(path: Path, shape: Shape, seed: int = 0) -> Path:
    """A file with random weights of the sizes that training gives, so that layers neither vanish nor blow up."""
    writer = GGUFWriter(path, shape.architecture)
    _write_header(writer, shape)
    _write_tokenizer(writer, shape.vocabulary)
    for name, values, kind in _tensors(shape, np.random.default_rng(seed)):
        writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    finish(writer)
    return path


def requantized(source: Path, target: Path, file_type: int) -> Path:
    """As llama.cpp's own quantization makes it, with the mixes of encodings that it knows and gguf does not."""
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = file_type, 1
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)) == 0
    return target


def _write_header(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_name("small")
    write_dimensions(writer, shape)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    if shape.architecture == "mistral3":  # attends more sharply from the 16th token on
        writer.add_rope_scaling_orig_ctx_len(16)
        writer.add_attn_temperature_scale(0.1)
    if shape.architecture == "gemma3":
        writer.add_sliding_window(8)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(2)


def _write_tokenizer(writer: GGUFWriter, vocabulary: int) -> None:
    """One token for each byte; the rest of the vocabulary never occurs in a text."""
    tokens = [*_CONTROL, *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [TokenType.CONTROL] * len(_CONTROL) + [TokenType.BYTE] * 256
    rest = vocabulary - len(tokens)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*tokens, *(f"<unused {number}>" for number in range(rest))])
    writer.add_token_scores([0.0] * vocabulary)
    writer.add_token_types([*types, *[TokenType.UNUSED] * rest])
    writer.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:")


def _tensors(shape: Shape, draw: np.random.Generator) -> Iterator[tuple[str, NDArray[np.float32], Kind]]:
    def matrix(name: str, rows: int, columns: int, kind: Kind | None = None) -> tuple[str, NDArray[np.float32], Kind]:
        return name, _normal(draw, rows, columns) / np.float32(columns**0.5), kind or shape.kind

    def vector(name: str, size: int, around: float = 1.0) -> tuple[str, NDArray[np.float32], Kind]:
        return name, np.float32(around) + _normal(draw, size) / np.float32(10), Kind.F32

    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    yield matrix("token_embd.weight", shape.vocabulary, shape.width, shape.output_kind)
    yield vector("output_norm.weight", shape.width)
    if not shape.tied:
        yield matrix("output.weight", shape.vocabulary, shape.width, shape.output_kind)
    if shape.rope_factors:
        yield "rope_freqs.weight", np.linspace(1, 8, shape.head_width // 2, dtype=np.float32), Kind.F32
    for layer in range(shape.layers):
        prefix = f"blk.{layer}"
        yield vector(f"{prefix}.attn_norm.weight", shape.width)
        yield matrix(f"{prefix}.attn_q.weight", queries, shape.width)
        yield matrix(f"{prefix}.attn_k.weight", keys, shape.width)
        yield matrix(f"{prefix}.attn_v.weight", keys, shape.width)
        yield matrix(f"{prefix}.attn_output.weight", shape.width, queries)
        yield vector(f"{prefix}.ffn_norm.weight", shape.width)
        if shape.experts:
            yield matrix(f"{prefix}.ffn_gate_inp.weight", shape.experts, shape.width, Kind.F32)
        for name, rows, columns in (
            ("gate", shape.feed_forward, shape.width),
            ("up", shape.feed_forward, shape.width),
            ("down", shape.width, shape.feed_forward),
        ):
            if shape.experts:
                _, values, kind = matrix("", shape.experts * rows, columns)
                yield f"{prefix}.ffn_{name}_exps.weight", values.reshape(shape.experts, rows, columns), kind
            else:
                yield matrix(f"{prefix}.ffn_{name}.weight", rows, columns)
        if shape.biased:
            for name, size in (("q", queries), ("k", keys), ("v", keys)):
                yield vector(f"{prefix}.attn_{name}.bias", size, around=0)
        if shape.renormed:
            yield vector(f"{prefix}.post_attention_norm.weight", shape.width)
            yield vector(f"{prefix}.post_ffw_norm.weight", shape.width)
        if shape.normed:
            yield vector(f"{prefix}.attn_q_norm.weight", shape.head_width)
            yield vector(f"{prefix}.attn_k_norm.weight", shape.head_width)


def _normal(draw: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return draw.standard_normal(shape, dtype=np.float32)
