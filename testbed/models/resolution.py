"""The GGUF file of a node's ``model:`` on this host, and the memory that the node needs for it."""

import hashlib
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from gguf import GGUFReader

from testbed.core.presence import is_file
from testbed.core.units import SIZE
from testbed.models import random_weights
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
    path = _locate(reference)
    with readable(reference, path):
        return _read(reference, path)


@contextmanager
def readable(reference: str, path: Path) -> Iterator[None]:
    """Turns errors of reading the GGUF file ``path`` into ModelError."""
    try:
        yield
    except (OSError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{reference}: {path} is not a readable GGUF model ({error})") from error


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
    if not path.stat().st_mode & stat.S_IROTH:
        raise ModelError(f"{reference}: the nodes' user may not read {path}; permit it: chmod a+r {path}")
    return path.resolve()


@cache
def _read(reference: str, path: Path) -> Model:
    reader = GGUFReader(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    widths = kv_widths(reader)
    return Model(
        reference=reference,
        path=path,
        sha256=sha256,
        size=path.stat().st_size,
        layers=len(widths),
        kv_width=sum(widths),
        vocabulary=len(reader.fields["tokenizer.ggml.tokens"].data),
        synthetic=field(reader, random_weights.MARK, False),
    )


def kv_widths(reader: GGUFReader) -> list[int]:
    """The number of values in a token's keys, by layer."""
    architecture = field(reader, "general.architecture")
    layers = field(reader, f"{architecture}.block_count")
    heads = _per_layer(field(reader, f"{architecture}.attention.head_count"), layers)
    kv_heads = _per_layer(field(reader, f"{architecture}.attention.head_count_kv", heads), layers)
    width = field(reader, f"{architecture}.embedding_length")
    head_width = field(reader, f"{architecture}.attention.key_length", width // max(heads))
    return [head_width * count for count in kv_heads]


def field(reader: GGUFReader, key: str, default: Any = None) -> Any:
    """The value of ``key`` in a GGUF header, or ``default``; raises KeyError if both are missing."""
    found = reader.get_field(key)
    if found is None and default is None:
        raise KeyError(f"it has no {key}")
    return default if found is None else found.contents()


def _per_layer(value: Any, layers: int) -> list[int]:
    """A value by layer. Some architectures have one number for each layer, most have one for all."""
    return list(value) if isinstance(value, list) else [value] * layers


def mebibytes(size: int) -> str:
    """``size`` in MiB, without the unit, for a sum."""
    return f"{size / 2**20:.1f}"
