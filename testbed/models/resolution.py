"""The GGUF file of a node's ``model:`` on this host, and the memory that the node needs for it."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from testbed.core.presence import is_file
from testbed.core.units import SIZE
from testbed.models import random_weights
from testbed.models.gguf_file import GgufFile, readable
from testbed.schema.network.model_source import ModelError, source_of
from testbed.schema.network.topology import Node

__all__ = ["Model", "ModelError", "resolve", "resolve_models"]

AGENT_MEMORY: Final = 56 * 2**20
"""Bytes of an agent without a model: Python, llama.cpp and the HTTP stack, measured with an empty queue."""

_BATCH: Final = 512  # tokens in a batch, llama.cpp's default
KV_BYTES: Final = 2
"""Bytes of a value in the KV cache: f16, llama.cpp's default."""

LOGIT_BYTES: Final = 4


@dataclass(frozen=True)
class Model:
    """A GGUF file. ``reference`` is its name in the topology, ``size`` is in bytes.

    A model in several parts has the others in ``further_parts``; size and hash are those of all parts together.

    ``kv_width`` is the number of values in a token's keys over all layers. A ``synthetic`` model has random weights: it
    has the speed and size of a real one, and its answers are neither right nor wrong.
    """

    reference: str
    path: Path
    sha256: str
    size: int
    layers: int
    kv_width: int
    vocabulary: int
    synthetic: bool = False
    further_parts: tuple[Path, ...] = ()

    def memory(self, context: int) -> dict[str, int]:
        """The memory that a node needs to run the model, in bytes by item.

        The KV cache holds the keys and as many values of every token of the context. Computing needs the logits of one
        batch. Other scratch space is small in comparison.
        """
        return {
            "agent": AGENT_MEMORY,
            "weights": self.size,
            "KV cache": 2 * self.kv_width * context * KV_BYTES,
            "logits": min(_BATCH, context) * self.vocabulary * LOGIT_BYTES,
        }

    def check_fits(self, node: str, context: int, cap: int) -> None:
        """Raises ModelError, with the sum, if the model needs more than ``cap`` bytes at a node."""
        parts = self.memory(context)
        needed = sum(parts.values())
        if needed > cap:
            addition = " + ".join(f"{name} {mebibytes(size)}" for name, size in parts.items())
            raise ModelError(
                f"node {node!r} cannot hold {self.reference}: {addition} = {mebibytes(needed)} MiB, "
                f"and its memory is {SIZE.format(cap)}; give it more or take a smaller model"
            )


def resolve(reference: str) -> Model:
    """The model of a reference like ``zoo/alpha``, fetched or drawn if it is missing; raises ModelError."""
    return _read(reference, _locate(reference))


def resolve_models(nodes: Mapping[str, Node]) -> dict[str, Model]:
    """The models by node; raises ModelError if one cannot be found or its node cannot hold it."""
    models = {name: resolve(node.model) for name, node in nodes.items()}
    for name, node in nodes.items():
        models[name].check_fits(name, node.context, node.memory)
    return models


def is_local(reference: str) -> bool:
    """Whether a model is on this host without fetching or drawing it; raises ModelError."""
    source, _ = source_of(reference)
    return source.local


def has_random_weights(reference: str) -> bool:
    """Whether the weights of a model are random; raises ModelError."""
    source, _ = source_of(reference)
    return source.random


def check_reference(reference: str) -> None:
    """Raises ModelError for a reference that is wrong by its form or name; fetches nothing."""
    source, name = source_of(reference)
    source.check(name)


def _locate(reference: str) -> Path:
    source, name = source_of(reference)
    path = source.locate(name)
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
            synthetic=file.value(random_weights.MARK, False),
            further_parts=file.parts[1:],
        )


def mebibytes(size: int) -> str:
    """``size`` in MiB, without the unit, for a sum."""
    return f"{size / 2**20:.1f}"
