"""What a model's file is made of, part by part in bytes: what a plan of stages is made from, before any is cut."""

from dataclasses import dataclass

from testbed.models.source import Model


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


def dissect(model: Model) -> Anatomy:
    """Read the parts of ``model``; raises ModelError for an architecture that cannot be split."""
    raise NotImplementedError
