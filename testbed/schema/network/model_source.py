"""What every model source is: where a node's ``model: SCHEME:NAME`` is found on this host."""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Final

from testbed.core.errors import TestbedError
from testbed.core.registry import Registry


class ModelError(TestbedError):
    """A model cannot be had, or cannot be held."""

    exit_code = 2


class ModelSource(ABC):
    """A kind of place that models come from, found by the word before the first ``:`` or ``/`` of a reference."""

    form: ClassVar[str]
    """How a reference is written, for people: ``path:FILE.gguf``."""

    local: ClassVar[bool] = True
    """Whether a model need neither be fetched nor made before anything is known of it."""

    random: ClassVar[bool] = False
    """Whether the weights are random: no answer of such a model is right or wrong."""

    def anchored(self, name: str, directory: Path) -> str:
        """``name``, with a path made absolute from the ``directory`` of the file that names the model."""
        del directory
        return name

    def check(self, name: str) -> None:
        """Raises ModelError if ``name`` cannot be that of a model. Fetches and makes nothing."""
        del name

    @abstractmethod
    def locate(self, name: str) -> Path:
        """The model's GGUF file, fetched or made if it is not there yet; raises ModelError."""


MODEL_SOURCES: Final[Registry[ModelSource]] = Registry("testbed.models", "model source", ModelSource)

_REFERENCE: Final = re.compile(r"([a-z][a-z0-9-]*)[:/](.+)")


def scheme(reference: str) -> str:
    """The word that names the source of a reference; raises ModelError."""
    match = _REFERENCE.fullmatch(reference)
    if match is None or match[1] not in MODEL_SOURCES:
        *others, last = forms()
        raise ModelError(f"{reference!r} must be {', '.join(others)} or {last}")
    return match[1]


def source_of(reference: str) -> tuple[ModelSource, str]:
    """The source that a reference names, and the model's name there; raises ModelError, KindError."""
    name = scheme(reference)
    return MODEL_SOURCES.get(name), reference[len(name) + 1 :]


def forms() -> list[str]:
    """How the references of every source are written."""
    return [MODEL_SOURCES.get(name).form for name in MODEL_SOURCES.names()]
