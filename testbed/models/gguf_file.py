"""A model's GGUF file, which may be in several parts, and what it must have so that a node can run it.

Parts are llama.cpp's: ``m-00001-of-00003.gguf`` has the header and the first tensors, and lies beside the others.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from gguf import GGUFReader, ReaderField, ReaderTensor
from numpy.typing import DTypeLike, NDArray

from testbed.core.presence import is_file
from testbed.schema.network.model_source import ModelError

EMBEDDING: Final = "token_embd.weight"

_PART: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_SPLIT: Final = "split."  # begins the keys that only say which part a file is
_RECURRENT: Final = ("ssm.", "wkv.")  # begin the keys of layers whose state is no KV cache
_NOT_WRITING: Final = ("clip", "t5", "t5encoder")  # architectures that do not continue a text


class _EndsEarlyError(ValueError):
    """A file is shorter than its header says."""


class _Reader(GGUFReader):
    """A reader that notices the end of the file, and is five times as fast: slices of a memmap are slow to make."""

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        return self.data.view(np.ndarray)

    def _get(
        self, offset: int, dtype: DTypeLike, count: int = 1, override_order: Literal["I", "S", "<"] | None = None
    ) -> NDArray[Any]:
        kind = np.dtype(dtype)
        end = int(offset) + kind.itemsize * int(count)
        if end > len(self._bytes):
            raise _EndsEarlyError(f"it ends after {len(self._bytes)} bytes, before its content does")
        return self._bytes[int(offset) : end].view(kind.newbyteorder(override_order or self.byte_order))


class GgufFile:
    """The header and the tensors of a model; ``parts`` are the files that it is in, the first at ``path``."""

    def __init__(self, reference: str, path: Path) -> None:
        """Read the headers of all parts. Raises ModelError with ``reference`` if no node can run the model."""
        self._reference = reference
        self.parts = self._beside(path)
        readers = [self._read(part) for part in self.parts]
        self.fields: dict[str, ReaderField] = {
            name: field for name, field in readers[0].fields.items() if not name.startswith((_SPLIT, "GGUF."))
        }
        self.tensors: list[ReaderTensor] = [tensor for reader in readers for tensor in reader.tensors]
        with readable(reference, path):
            self.architecture: str = self.value("general.architecture")
            self._check_architecture()
            self._check_weights()

    def value(self, key: str, default: Any = None) -> Any:
        """The value of ``key`` in the header, or ``default``; raises KeyError if both are missing."""
        found = self.fields.get(key)
        if found is None and default is None:
            raise KeyError(f"it has no {key}")
        return default if found is None else found.contents()

    @cached_property
    def kv_widths(self) -> list[int]:
        """The number of values in a token's keys, by layer; 0 for a layer without attention."""
        layers = self.value(f"{self.architecture}.block_count")
        heads = _per_layer(self.value(f"{self.architecture}.attention.head_count"), layers)
        kv_heads = _per_layer(self.value(f"{self.architecture}.attention.head_count_kv", heads), layers)
        if not any(heads):
            return [0] * layers
        width = self.value(f"{self.architecture}.embedding_length")
        head_width = self.value(f"{self.architecture}.attention.key_length", width // max(heads))
        return [head_width * count for count in kv_heads]

    def most(self, key: str, default: Any = None) -> int:
        """The largest value of the architecture's ``key`` among layers, or ``default``; raises KeyError."""
        return max(_per_layer(self.value(f"{self.architecture}.{key}", default), 1))

    @property
    def vocabulary(self) -> int:
        """The number of tokens; raises KeyError."""
        return len(self.fields["tokenizer.ggml.tokens"].data)

    @property
    def size(self) -> int:
        """The bytes of all parts."""
        return sum(part.stat().st_size for part in self.parts)

    def sha256(self) -> str:
        """The hash of the parts one after the other, in hexadecimal digits: that of ``cat PARTS``."""
        return sha256_of(self.parts)

    def _beside(self, path: Path) -> tuple[Path, ...]:
        """All parts of the model whose first is at ``path``."""
        names = part_names(path.name)
        if names[0] != path.name:
            raise self._refusal(f"{path.name} is one of {len(names)} parts; name the first, {names[0]}")
        for name in names:
            if not is_file(path.with_name(name)):
                raise self._refusal(f"its part {path.with_name(name)} is missing; all parts lie in one folder")
        return tuple(path.with_name(name) for name in names)

    def _read(self, part: Path) -> GGUFReader:
        with readable(self._reference, part):
            reader = _Reader(part)
        split = reader.get_field("split.count")
        if split is not None and split.contents() not in (0, len(self.parts)):
            raise self._refusal(f"{part.name} says that it is one of {split.contents()} parts; keep the parts' names")
        return reader

    def _check_architecture(self) -> None:
        """Raises ModelError for a model that writes no text, or whose memory is not weights and KV cache."""
        if self.architecture in _NOT_WRITING or self.value(f"{self.architecture}.attention.causal", True) is False:
            raise self._refusal(f"its architecture {self.architecture!r} continues no texts")
        recurrent = tuple(f"{self.architecture}.{key}" for key in _RECURRENT)
        if any(name.startswith(recurrent) for name in self.fields) or max(self.kv_widths, default=0) == 0:
            raise self._refusal(
                f"its architecture {self.architecture!r} has layers whose state is no KV cache, which is not supported"
            )

    def _check_weights(self) -> None:
        """Raises ModelError for a file with a header or a tokenizer alone, or with a part of a model."""
        if not self.tensors:
            raise self._refusal("its file has a header and no weights; take the whole model")
        if EMBEDDING not in {tensor.name for tensor in self.tensors}:
            raise self._refusal(f"its file has no {EMBEDDING}, so it is no whole model")

    def _refusal(self, reason: str) -> ModelError:
        return ModelError(f"{self._reference} cannot be run: {reason}")


def part_names(name: str) -> list[str]:
    """The names of all parts of a model that has the part ``name``, in order; ``name`` alone if it is in one file."""
    match = _PART.fullmatch(name)
    if match is None:
        return [name]
    count = int(match["count"])
    return [f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


def sha256_of(files: Iterable[Path]) -> str:
    """The hash of the content of files one after the other, in hexadecimal digits."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def readable(reference: str, path: Path) -> Iterator[None]:
    """Turns errors of reading the GGUF file ``path`` into ModelError."""
    try:
        yield
    except _EndsEarlyError as error:
        raise ModelError(f"{reference}: {path} is incomplete: {error}; fetch it again") from error
    except (OSError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{reference}: {path} is not a readable GGUF model ({error})") from error


def _per_layer(value: Any, layers: int) -> list[int]:
    """A value by layer. Some architectures have one number for each layer, most have one for all."""
    return list(value) if isinstance(value, list) else [value] * layers
