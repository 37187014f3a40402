"""The base of model sources, which find the file of a node's ``model: SCHEME:NAME`` on this host."""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Final

from testbed.core.errors import TestbedError
from testbed.core.registry import Registry


class ModelError(TestbedError):
    """A model cannot be found, or a node cannot hold it."""

    exit_code = 2


class ModelSource(ABC):
    """A source of models. Its name is the word before the first ``:`` or ``/`` of a reference."""

    form: ClassVar[str]
    """The form of a reference, for people: ``path:FILE.gguf``."""

    local: ClassVar[bool] = True
    """Whether models are on this host already, so that a check can read them without fetching or making one."""

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
    def locate(self, name: str) -> Path:
        """The model's GGUF file, fetched or made if it is missing; raises ModelError."""


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
    """The source of a reference and the model's name there; raises ModelError or KindError."""
    name = scheme(reference)
    return MODEL_SOURCES.get(name), reference[len(name) + 1 :]


def forms() -> list[str]:
    """The forms of references, one for each source."""
    return [MODEL_SOURCES.get(name).form for name in MODEL_SOURCES.names()]
