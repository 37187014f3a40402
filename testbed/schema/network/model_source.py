"""The base of model sources, which find the file of a node's ``model: SCHEME:NAME`` on this host."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from testbed.core.errors import TestbedError
from testbed.core.registry import Registry

Progress = Callable[[int, int | None], None]
"""Told how many bytes are fetched, and of how many; None if that is unknown."""


class ModelError(TestbedError):
    """A model cannot be found, or a node cannot hold it."""

    exit_code = 2


class ModelSource(ABC):
    """A source of models. Its name is the word before the first ``:`` or ``/`` of a reference."""

    form: ClassVar[str]
    """The form of a reference, for people: ``path:FILE.gguf``."""

    random: ClassVar[bool] = False
    """Whether the weights are random. Answers of such a model are neither right nor wrong."""

    def anchored(self, name: str, directory: Path) -> str:
        """``name``; if it is a path, made absolute from ``directory``, that of the file that names the model."""
        del directory
        return name

    def check(self, name: str) -> None:
        """Raises ModelError if the source cannot have a model of this name. Fetches and makes nothing."""
        del name

    @abstractmethod
    def find(self, name: str) -> Path | None:
        """The model's GGUF file on this host, the first of several parts; None if :meth:`fetch` must get it first.

        Raises ModelError if there is no such model.
        """

    def fetch(self, name: str, progress: Progress) -> Path:
        """The model's GGUF file, fetched or made; raises ModelError."""
        del progress
        raise ModelError(f"{name} cannot be fetched: the source finds models on this host alone")

    def size(self, name: str) -> int | None:
        """The bytes of the model's weights, if that is known before it is fetched."""
        del name
        return None

    def terms(self, name: str) -> str | None:
        """The address of terms that whoever fetches the model accepts."""
        del name
        return None


MODEL_SOURCES: Final[Registry[ModelSource]] = Registry("testbed.models", "model source", ModelSource)

_REFERENCE: Final = re.compile(r"([a-z][a-z0-9-]*)[:/](.+)")
_BARE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CATALOGUE: Final = "catalogue"
"""The source of names without a scheme."""

REFERENCE_PATTERN: Final = rf"^({_REFERENCE.pattern}|{_BARE.pattern})$"
"""Matches a reference in a JSON Schema."""


def scheme(reference: str) -> str:
    """The name of a reference's source; raises ModelError."""
    return _divided(reference)[0]


def source_of(reference: str) -> tuple[ModelSource, str]:
    """The source of a reference and the model's name there; raises ModelError or KindError."""
    source, name = _divided(reference)
    return MODEL_SOURCES.get(source), name


def forms() -> list[str]:
    """The forms of references, one for each source."""
    return [MODEL_SOURCES.get(name).form for name in MODEL_SOURCES.names()]


def _divided(reference: str) -> tuple[str, str]:
    if _BARE.fullmatch(reference):
        return _CATALOGUE, reference
    match = _REFERENCE.fullmatch(reference)
    if match is None or match[1] not in MODEL_SOURCES:
        *others, last = forms()
        raise ModelError(f"{reference!r} must be {', '.join(others)} or {last}")
    return match[1], match[2]
