"""Registries of kinds, such as patterns and faults. A kind is found by name and loaded when first asked for.

A kind is an entry point of an installed package, the testbed included, or an object of one file:
``./quorum.py:Quorum``.
"""

import hashlib
import importlib.util
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Generic, TypeVar

from testbed.core.errors import TestbedError

Kind = TypeVar("Kind")

_OWN: Final = "testbed"  # the distribution whose kinds come along
_FILE_REFERENCE: Final = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)")

FILE_REFERENCE_PATTERN: Final = r"^.+\.py:[A-Za-z_][A-Za-z0-9_]*$"
"""Matches ``FILE.py:NAME`` in a JSON Schema."""


class KindError(TestbedError):
    """A kind does not exist, exists twice, or cannot be loaded."""

    exit_code = 2


@dataclass(frozen=True)
class PackageOrigin:
    """The installed distribution that registers a kind; ``reference`` is ``module:Name``."""

    package: str
    version: str
    reference: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True)
class FileOrigin:
    """The file that holds a kind, with the hash of its content; ``reference`` is the object's name in it."""

    path: Path
    sha256: str
    reference: str

    def __str__(self) -> str:
        return str(self.path)


Origin = PackageOrigin | FileOrigin


def is_built_in(origin: Origin) -> bool:
    """Whether a kind is the testbed's own."""
    return isinstance(origin, PackageOrigin) and origin.package == _OWN


@dataclass(frozen=True)
class UsedKind:
    """A kind that a run uses, with its registry's group."""

    group: str
    name: str
    origin: Origin

    def as_dict(self) -> dict[str, str]:
        """For the manifest."""
        match self.origin:
            case PackageOrigin(package, version):
                return {"group": self.group, "name": self.name, "package": package, "version": version}
            case FileOrigin(path, sha256):
                return {"group": self.group, "name": recorded_name(self.name), "file": path.name, "sha256": sha256}


class Registry(Generic[Kind]):
    """The kinds of one entry-point group.

    ``noun`` names a kind in error messages. A kind must be a subclass of ``contract``, or an instance of it. No kind
    can have a name in ``reserved``.
    """

    def __init__(self, group: str, noun: str, contract: type[Any], reserved: Collection[str] = ()) -> None:
        self.group = group
        self.noun = noun
        self._contract = contract
        self._reserved = reserved
        self._loaded: dict[str, Kind] = {}

    def names(self) -> list[str]:
        """The names that installed packages register, sorted. Loads no kind; raises KindError for a reserved name."""
        for name in self._points:
            if name in self._reserved:
                raise KindError(f"{self._packages(name)}: {name!r} cannot name a {self.noun}; it has a meaning already")
        return list(self._points)

    def __contains__(self, name: object) -> bool:
        return name in self._points or (isinstance(name, str) and is_file_reference(name))

    def get(self, name: str) -> Kind:
        """The kind called ``name``; raises KindError."""
        if name not in self._loaded:
            self._loaded[name] = self._checked(name, self._load(name))
        return self._loaded[name]

    def teach(self, name: str, kind: Kind) -> None:
        """Let ``name`` mean ``kind``, where no package registers it: inside a node."""
        self._loaded[name] = self._checked(name, kind)

    def origin(self, name: str) -> Origin:
        """Where the kind called ``name`` comes from; raises KindError."""
        if match := _FILE_REFERENCE.fullmatch(name):
            path = Path(match["path"])
            return FileOrigin(path, file_hash(path), match["name"])
        point = self._point(name)
        assert point.dist is not None  # entry_points() sets it
        return PackageOrigin(point.dist.name, point.dist.version, point.value)

    def used(self, name: str) -> UsedKind:
        """The kind called ``name`` as a run's manifest tells it; raises KindError."""
        return UsedKind(self.group, name, self.origin(name))

    @cached_property
    def _points(self) -> dict[str, list[EntryPoint]]:
        points: dict[str, list[EntryPoint]] = {}
        for point in sorted(entry_points(group=self.group), key=lambda point: point.name):
            points.setdefault(point.name, []).append(point)
        return points

    def _point(self, name: str) -> EntryPoint:
        match self._points.get(name, []):
            case [point]:
                return point
            case []:
                raise KindError(f"there is no {self.noun} {name!r}; known are {', '.join(self.names())}")
            case _:
                raise KindError(f"{self._packages(name)}: all of them register a {self.noun} {name!r}; uninstall one")

    def _packages(self, name: str) -> str:
        return ", ".join(point.dist.name if point.dist else point.value for point in self._points[name])

    def _load(self, name: str) -> Any:
        if is_file_reference(name):
            return load_reference(name)
        point = self._point(name)
        try:
            return point.load()
        except Exception as error:  # whatever the package's own code raises
            origin = self.origin(name)
            raise KindError(f"{self.noun} {name!r} of {origin} cannot be imported: {_described(error)}") from error

    def _checked(self, name: str, found: Any) -> Kind:
        conforms = issubclass(found, self._contract) if isinstance(found, type) else isinstance(found, self._contract)
        if not conforms:
            raise KindError(f"{name!r} is not a {self.noun}: it does not derive from {self._contract.__qualname__}")
        return found  # type: ignore[no-any-return]  # checked above


def is_file_reference(name: str) -> bool:
    """Whether ``name`` has the form ``FILE.py:NAME``."""
    return _FILE_REFERENCE.fullmatch(name) is not None


def file_of(name: str) -> Path | None:
    """The file of a ``FILE.py:NAME``; None of any other name."""
    match = _FILE_REFERENCE.fullmatch(name)
    return Path(match["path"]) if match else None


def recorded_name(name: str) -> str:
    """``name`` without the folder of a ``FILE.py:NAME``, which a run directory does not have."""
    return Path(name).name if is_file_reference(name) else name


def anchored(name: str, directory: Path) -> str:
    """``name`` with the path of a ``FILE.py:NAME`` made absolute from ``directory``; other names as they are."""
    match = _FILE_REFERENCE.fullmatch(name)
    return f"{(directory / match['path']).resolve()}:{match['name']}" if match else name


def load_from_file(path: Path, name: str) -> Any:
    """The object called ``name`` in the Python file ``path``, which is executed once; raises KindError."""
    module = _module(path, file_hash(path))
    try:
        return getattr(module, name)
    except AttributeError:
        raise KindError(f"{path} defines no {name!r}") from None


def load_reference(reference: str) -> Any:
    """The object that ``module:Name`` or ``FILE.py:Name`` stands for; raises KindError."""
    if match := _FILE_REFERENCE.fullmatch(reference):
        return load_from_file(Path(match["path"]), match["name"])
    try:
        return EntryPoint("", reference, "").load()
    except Exception as error:  # whatever the imported code raises
        raise KindError(f"{reference} cannot be imported: {_described(error)}") from error


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits; raises KindError."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise KindError(f"{path} cannot be read: {error.strerror}") from error


@cache
def _module(path: Path, sha256: str) -> ModuleType:
    # Two files called quorum.py need different names in sys.modules.
    spec = importlib.util.spec_from_file_location(f"testbed_file_{sha256[:16]}", path)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic resolves annotations there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code raises
        del sys.modules[spec.name]
        raise KindError(f"{path} cannot be imported: {_described(error)}") from error
    return module


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
