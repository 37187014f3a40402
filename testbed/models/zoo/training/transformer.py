"""The network: a small Llama (RMS norm, rotary positions, grouped-query attention, SwiGLU, untied output).

Weights are a dictionary of tensors under their GGUF names, so an export writes them unchanged. Dimensions in
docstrings: B sequences, T tokens, H heads, D values per head.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]

_PRODUCT_TYPE = torch.bfloat16
"""The type of matrix products, several times faster on CPUs with instructions for it."""
_RESIDUAL_GAIN = 0.3
"""Scale of a block's initial output: a new network mostly passes its input through."""
_EMBEDDING_DEVIATION = 0.02


@dataclass(frozen=True, slots=True)
class Sizes:
    """The dimensions of a network. Rows of matrices must be multiples of 32 long for the Q8_0 format."""

    vocabulary: int
    width: int = 192
    layers: int = 6
    heads: int = 6
    kv_heads: int = 2
    feed_forward: int = 320
    context: int = 512
    rope_base: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """The number of values in a head."""
        return self.width // self.heads


def _block_matrices(shape: Sizes) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of each matrix of a block, by name."""
    kv_width = shape.kv_heads * shape.head_width
    return {
        "attn_q": (shape.width, shape.width),
        "attn_k": (kv_width, shape.width),
        "attn_v": (kv_width, shape.width),
        "attn_output": (shape.width, shape.width),
        "ffn_gate": (shape.feed_forward, shape.width),
        "ffn_up": (shape.feed_forward, shape.width),
        "ffn_down": (shape.width, shape.feed_forward),
    }


def new_weights(shape: Sizes, seed: int) -> Weights:
    """Random initial weights without gradients."""
    generator = torch.Generator().manual_seed(seed)

    def matrix(rows: int, columns: int, deviation: float) -> Tensor:
        return torch.randn(rows, columns, generator=generator) * deviation

    weights = {"token_embd.weight": matrix(shape.vocabulary, shape.width, _EMBEDDING_DEVIATION)}
    for layer in range(shape.layers):
        for norm in ("attn_norm", "ffn_norm"):
            weights[f"blk.{layer}.{norm}.weight"] = torch.ones(shape.width)
        for name, (outputs, inputs) in _block_matrices(shape).items():
            gain = _RESIDUAL_GAIN if name in ("attn_output", "ffn_down") else 1.0
            weights[f"blk.{layer}.{name}.weight"] = matrix(outputs, inputs, gain / sqrt(inputs))
    weights["output_norm.weight"] = torch.ones(shape.width)
    weights["output.weight"] = matrix(shape.vocabulary, shape.width, _EMBEDDING_DEVIATION)
    return weights


def is_block_matrix(name: str) -> bool:
    """Whether a weight is a matrix inside a block, and not an embedding, the output or a norm."""
    return name.startswith("blk.") and "norm" not in name


class Network:
    """A network: its sizes and its weights, which training changes in place."""

    def __init__(self, shape: Sizes, weights: Weights) -> None:
        self.shape = shape
        self.weights = weights
        frequencies = shape.rope_base ** (-torch.arange(0, shape.head_width, 2) / shape.head_width)
        angles = torch.outer(torch.arange(shape.context), frequencies)
        self._cosines, self._sines = angles.cos(), angles.sin()  # T × D/2

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(weight.numel() for weight in self.weights.values())

    def states(self, tokens: Tensor) -> Tensor:
        """B×T token ids → B×T×width normalized states, the input of `logits`."""
        stream = functional.embedding(tokens, self.weights["token_embd.weight"])
        for layer in range(self.shape.layers):
            stream = stream + self._attention(layer, self._normalized(f"blk.{layer}.attn_norm", stream))
            stream = stream + self._feed_forward(layer, self._normalized(f"blk.{layer}.ffn_norm", stream))
        return self._normalized("output_norm", stream)

    def logits(self, states: Tensor) -> Tensor:
        """…×width states → …×vocabulary scores of the next token."""
        return self._project("output", states)

    def _project(self, name: str, values: Tensor) -> Tensor:
        matrix = self.weights[f"{name}.weight"]
        return functional.linear(values.to(_PRODUCT_TYPE), matrix.to(_PRODUCT_TYPE)).float()

    def _normalized(self, name: str, values: Tensor) -> Tensor:
        return functional.rms_norm(values, (self.shape.width,), self.weights[f"{name}.weight"], self.shape.epsilon)

    def _heads(self, name: str, values: Tensor) -> Tensor:
        """B×T×width → B×H×T×D."""
        batch, length, _ = values.shape
        return self._project(name, values).view(batch, length, -1, self.shape.head_width).transpose(1, 2)

    def _rotated(self, heads: Tensor) -> Tensor:
        """Rotary positions on adjacent pairs of values, llama.cpp's order, so an export permutes nothing."""
        length = heads.shape[2]
        even, odd = heads[..., 0::2], heads[..., 1::2]
        cosines, sines = self._cosines[:length], self._sines[:length]
        return torch.stack((even * cosines - odd * sines, even * sines + odd * cosines), dim=-1).flatten(-2)

    def _attention(self, layer: int, values: Tensor) -> Tensor:
        """Attention without torch's fused kernel, which is slower at this size, above all in the backward pass."""
        queries = self._rotated(self._heads(f"blk.{layer}.attn_q", values)).to(_PRODUCT_TYPE)
        keys = self._rotated(self._heads(f"blk.{layer}.attn_k", values)).to(_PRODUCT_TYPE)
        contents = self._heads(f"blk.{layer}.attn_v", values).to(_PRODUCT_TYPE)
        batch, length, _ = values.shape
        future = torch.full((length, length), -torch.inf).triu(1)
        grouped = queries.view(batch, self.shape.kv_heads, -1, self.shape.head_width)  # heads that share their keys
        scores = (grouped @ keys.mT).float().view(batch, -1, length, length) / sqrt(self.shape.head_width)
        attention = (scores + future).softmax(-1).to(_PRODUCT_TYPE)
        mixed = attention.view(batch, self.shape.kv_heads, -1, length) @ contents
        joined = mixed.float().view(batch, -1, length, self.shape.head_width).transpose(1, 2).flatten(2)
        return self._project(f"blk.{layer}.attn_output", joined)

    def _feed_forward(self, layer: int, values: Tensor) -> Tensor:
        gate = functional.silu(self._project(f"blk.{layer}.ffn_gate", values))
        return self._project(f"blk.{layer}.ffn_down", gate * self._project(f"blk.{layer}.ffn_up", values))
