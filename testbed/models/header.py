"""The part of a GGUF file's header that says how large the transformer is."""

from typing import Protocol

from gguf import GGUFWriter


class Dimensions(Protocol):
    """The sizes of a decoder-only transformer with grouped-query attention and rotary positions."""

    @property
    def context(self) -> int:
        """The most tokens of a sequence."""

    @property
    def width(self) -> int:
        """The values of a hidden state."""

    @property
    def layers(self) -> int: ...

    @property
    def feed_forward(self) -> int:
        """The values between the two matrices of a feed-forward network."""

    @property
    def heads(self) -> int: ...

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values, each of which several heads of queries share."""

    @property
    def head_width(self) -> int: ...

    @property
    def epsilon(self) -> float:
        """Added to the mean square in a normalisation."""

    @property
    def rope_base(self) -> float: ...

    @property
    def vocabulary(self) -> int: ...


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
