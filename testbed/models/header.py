"""The dimensions of a transformer in the header of a GGUF file."""

from typing import Protocol

from gguf import GGUFWriter


class Dimensions(Protocol):
    """The sizes of a decoder-only transformer with grouped-query attention and rotary positions."""

    @property
    def context(self) -> int:
        """The largest number of tokens in a sequence."""

    @property
    def width(self) -> int:
        """The number of values in a hidden state."""

    @property
    def layers(self) -> int:
        """The number of layers."""

    @property
    def feed_forward(self) -> int:
        """The number of values inside a feed-forward network."""

    @property
    def heads(self) -> int:
        """The number of query heads."""

    @property
    def kv_heads(self) -> int:
        """The number of key/value heads, each of which several query heads share."""

    @property
    def head_width(self) -> int:
        """The number of values in a head."""

    @property
    def epsilon(self) -> float:
        """The value added to the mean square in a normalization."""

    @property
    def rope_base(self) -> float:
        """The base of the rotary frequencies."""

    @property
    def vocabulary(self) -> int:
        """The number of tokens."""


def write_dimensions(writer: GGUFWriter, dimensions: Dimensions) -> None:
    """Add the keys ``ARCHITECTURE.*`` that llama.cpp needs."""
    writer.add_context_length(dimensions.context)
    writer.add_embedding_length(dimensions.width)
    writer.add_block_count(dimensions.layers)
    writer.add_feed_forward_length(dimensions.feed_forward)
    writer.add_head_count(dimensions.heads)
    writer.add_head_count_kv(dimensions.kv_heads)
    writer.add_layer_norm_rms_eps(dimensions.epsilon)
    writer.add_rope_freq_base(dimensions.rope_base)
    writer.add_rope_dimension_count(dimensions.head_width)
    writer.add_vocab_size(dimensions.vocabulary)
