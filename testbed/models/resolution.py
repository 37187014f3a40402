"""The GGUF file of a node's ``model:`` on this host, and the memory that the node needs for it."""

import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final

from testbed.core.presence import is_file
from testbed.core.units import SIZE
from testbed.models import random_weights
from testbed.models.gguf_file import GgufFile, readable
from testbed.node.config import BATCH, DRAFTED
from testbed.schema.network.model_source import ModelError, source_of
from testbed.schema.network.node import Emulated, ModelNode

__all__ = ["Model", "ModelError", "resolve", "resolve_models"]

AGENT_MEMORY: Final = 56 * 2**20
"""Bytes of an agent without a model: Python, llama.cpp and the HTTP stack, measured with an empty queue."""

TOKENIZER_BYTES: Final = 350
"""Bytes of a tokenizer for each token, measured with a vocabulary of 32,000."""

_SCRATCH_BYTES: Final = 4
KV_BYTES: Final = 2
"""Bytes of a value in the KV cache: f16, llama.cpp's default."""

LOGIT_BYTES: Final = 4


Fetching = Callable[[str, int, int | None], None]
"""Told of each model that is fetched how many bytes are there, and of how many; None if that is unknown."""


def untold(reference: str, done: int, total: int | None) -> None:
    """Nobody is told."""
    del reference, done, total


@dataclass(frozen=True)
class Model:
    """A GGUF file. ``reference`` is its name in the topology, ``size`` is in bytes.

    A model in several parts has the others in ``further_parts``; size and hash are those of all parts together.

    ``kv_width`` is the number of values in a token's keys over all layers; ``heads`` and ``inner`` are the largest
    numbers of heads and of feed-forward values of a layer. A ``synthetic`` model has random weights: it
    has the speed and size of a real one, and its answers are neither right nor wrong.
    """

    reference: str
    path: Path
    sha256: str
    size: int
    layers: int
    kv_width: int
    vocabulary: int
    heads: int = 1
    inner: int = 0
    synthetic: bool = False
    further_parts: tuple[Path, ...] = ()

    def memory(self, context: int, slots: int = 1) -> dict[str, int]:
        """The memory that a node needs to run the model, in bytes by item.

        The KV cache holds the keys and as many values of every token of the context, for each slot. There is a row of
        logits for each slot, or for each token of a draft, in the graph and copied out of it. Scratch is what a batch
        of a prompt needs: attention over the whole context, before and after the softmax, and the feed-forward values.
        """
        batch = min(BATCH, context)
        return {
            "agent": AGENT_MEMORY,
            "weights": self.size,
            "tokenizer": self.vocabulary * TOKENIZER_BYTES,
            "KV cache": 2 * self.kv_width * context * slots * KV_BYTES,
            "logits": 2 * max(slots, DRAFTED) * self.vocabulary * LOGIT_BYTES,
            "scratch": batch * (2 * self.heads * context + 3 * self.inner) * _SCRATCH_BYTES,
        }

    def memory_of_model(self, context: int) -> int:
        """The bytes that a node needs for the model besides those of its agent."""
        return sum(self.memory(context).values()) - AGENT_MEMORY

    def check_fits(self, node: str, context: int, cap: int, slots: int = 1) -> None:
        """Raises ModelError, with the sum, if the model needs more than ``cap`` bytes at a node."""
        parts = self.memory(context, slots)
        needed = sum(parts.values())
        if needed > cap:
            addition = " + ".join(f"{name} {mebibytes(size)}" for name, size in parts.items())
            raise ModelError(
                f"node {node!r} cannot hold {self.reference}: {addition} = {mebibytes(needed)} MiB, "
                f"and its memory is {SIZE.format(cap)}; give it more or take a smaller model"
            )


def resolve(reference: str, fetching: Fetching = untold) -> Model:
    """The model of a reference like ``zoo/alpha``, fetched or drawn if it is missing; raises ModelError."""
    source, name = source_of(reference)
    path = source.find(name) or source.fetch(name, partial(fetching, reference))
    return _read(reference, _present(reference, path))


def resolve_models(nodes: Mapping[str, ModelNode], fetching: Fetching = untold) -> dict[str, Model]:
    """The models by node; raises ModelError if one cannot be found or its node cannot hold it."""
    models = {name: resolve(node.model, fetching) for name, node in nodes.items()}
    for name, node in nodes.items():
        if isinstance(node, Emulated):
            models[name].check_fits(name, node.context, node.memory, node.slots)
    return models


def find(reference: str) -> Model | None:
    """The model if it is on this host; raises ModelError if there is none of this name."""
    source, name = source_of(reference)
    path = source.find(name)
    return None if path is None else _read(reference, _present(reference, path))


def check_node(name: str, node: ModelNode) -> Model | None:
    """A node's model if it is on this host.

    Raises ModelError if the node cannot hold it, as far as can be told without fetching it.
    """
    model = find(node.model)
    if not isinstance(node, Emulated):
        return model
    if model is not None:
        model.check_fits(name, node.context, node.memory, node.slots)
    elif AGENT_MEMORY + (_size(node.model) or 0) > node.memory:
        raise ModelError(
            f"node {name!r} cannot hold {node.model}: agent {mebibytes(AGENT_MEMORY)} + weights "
            f"{mebibytes(_size(node.model) or 0)} MiB, and its memory is {SIZE.format(node.memory)}; give it more or "
            "take a smaller model"
        )
    return model


@dataclass(frozen=True)
class Missing:
    """A model that must be fetched first: its size in bytes, if known, and the address of its terms, if it has any."""

    reference: str
    size: int | None
    terms: str | None

    @classmethod
    def of(cls, reference: str) -> "Missing | None":
        """The model if it must be fetched; raises ModelError."""
        source, name = source_of(reference)
        if source.random or source.find(name) is not None:
            return None
        return cls(reference, source.size(name), source.terms(name))

    def __str__(self) -> str:
        size = "" if self.size is None else f", {SIZE.readable(self.size)}"
        terms = "" if self.terms is None else f"; whoever fetches it accepts {self.terms}"
        return f"{self.reference} is not fetched yet{size}{terms}"


def missing(references: Iterable[str]) -> list[Missing]:
    """The models among these that are to be fetched; raises ModelError."""
    found = map(Missing.of, references)
    return [model for model in found if model is not None]


def has_random_weights(reference: str) -> bool:
    """Whether the weights of a model are random; raises ModelError."""
    source, _ = source_of(reference)
    return source.random


def _size(reference: str) -> int | None:
    source, name = source_of(reference)
    return source.size(name)


def _present(reference: str, path: Path) -> Path:
    if not is_file(path):
        raise ModelError(f"{reference}: there is no file {path}")
    return path.parent.resolve() / path.name  # a link's target has not the name of its part


@cache
def _read(reference: str, path: Path) -> Model:
    file = GgufFile(reference, path)
    for part in file.parts:
        if not part.stat().st_mode & stat.S_IROTH:
            raise ModelError(f"{reference}: the nodes' user may not read {part}; permit it: chmod a+r {part}")
    with readable(reference, path):
        return Model(
            reference=reference,
            path=path,
            sha256=file.sha256(),
            size=file.size,
            layers=len(file.kv_widths),
            kv_width=sum(file.kv_widths),
            vocabulary=file.vocabulary,
            heads=file.most("attention.head_count"),
            inner=file.most("feed_forward_length", 0),
            synthetic=file.value(random_weights.MARK, False),
            further_parts=file.parts[1:],
        )


def mebibytes(size: int) -> str:
    """``size`` in MiB, without the unit, for a sum."""
    return f"{size / 2**20:.1f}"
