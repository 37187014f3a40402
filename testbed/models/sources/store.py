"""Models that were fetched: a folder for each reference in the cache, which all runs on this host share."""

import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from testbed.core.cache import cache_folder
from testbed.core.units import SIZE
from testbed.models.gguf_file import sha256_of
from testbed.schema.network.model_source import ModelError

LIMIT_VARIABLE: Final = "TESTBED_LARGEST_MODEL"
_LIMIT: Final = "64GiB"
_ENTRY: Final = "model.json"

Download = Callable[[Path], Sequence[Path]]
"""Fetches a model into a folder, going on where an earlier call stopped; returns its files in order."""


@dataclass(frozen=True)
class Stored:
    """A model in the store: its files by name within ``folder``, its size in bytes, and the hash of all files."""

    reference: str
    files: tuple[str, ...]
    size: int
    sha256: str
    folder: Path

    @property
    def path(self) -> Path:
        """The file, or the first part."""
        return self.folder / self.files[0]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder)}


def find(reference: str) -> Stored | None:
    """The model that was fetched as ``reference``."""
    return _read(_place(reference))


def stored() -> list[Stored]:
    """All models, by reference."""
    found = map(_read, _folder().glob("[!.]*"))
    return sorted((model for model in found if model is not None), key=lambda model: model.reference)


def fill(reference: str, download: Download, expected: str | None = None) -> Stored:
    """Fetch a model unless the store has it; another process that fetches it is waited for.

    ``expected`` is the hash that its files must have, one after the other. Raises ModelError. What ``download`` wrote
    before it failed is kept, except with a wrong hash.
    """
    place = _place(reference)
    work = _work(place)
    with _explained(reference), _locked(place):
        if (found := find(reference)) is not None:
            return found
        work.mkdir(parents=True, exist_ok=True)
        files = download(work)
        digest = sha256_of(files)
        if expected not in (None, digest):
            shutil.rmtree(work)
            raise ModelError(f"{reference}: what was fetched has the sha256 {digest}, not {expected}")
        return _keep(reference, work, files, digest)


def remove(reference: str) -> Stored:
    """Delete a model, or what was fetched of it; returns what it was. Raises ModelError if the store has neither."""
    place = _place(reference)
    with _locked(place):
        found = find(reference) or Stored(reference, (), 0, "", _work(place))
        if not found.folder.exists():
            known = ", ".join(model.reference for model in stored()) or "none"
            raise ModelError(f"{reference} was not fetched; fetched are: {known}")
        shutil.rmtree(found.folder)
        return found


def check_size(reference: str, size: int, folder: Path, had: int = 0) -> None:
    """Raises ModelError if ``size`` bytes are over the limit, or more than fit on the disk; ``had`` are there."""
    limit = os.environ.get(LIMIT_VARIABLE, _LIMIT)
    try:
        most = SIZE.parse(limit)
    except ValueError as error:
        raise ModelError(f"{LIMIT_VARIABLE}: {error}") from error
    if size > most:
        raise ModelError(f"{reference} has {SIZE.readable(size)}; {LIMIT_VARIABLE} allows {limit}")
    free = shutil.disk_usage(folder).free
    if size - had > free:
        raise ModelError(
            f"{reference} needs {SIZE.readable(size - had)} in {cache_folder()}, where {SIZE.readable(free)} are free; "
            "make room, or name another cache by TESTBED_CACHE"
        )


def _folder() -> Path:
    return cache_folder() / "models" / "fetched"


def _place(reference: str) -> Path:
    """The folder of a model: its name tells people what it is, and its end is unique."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", reference).strip("-.")
    return _folder() / f"{words[:80]}-{sha256(reference.encode()).hexdigest()[:12]}"


def _work(place: Path) -> Path:
    """Where a model is fetched, before it is whole."""
    return place.with_name(f".{place.name}")


def _read(place: Path) -> Stored | None:
    try:
        entry = json.loads((place / _ENTRY).read_text(encoding="utf-8"))
        return Stored(entry["reference"], tuple(entry["files"]), entry["size"], entry["sha256"], place)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _keep(reference: str, work: Path, files: Sequence[Path], digest: str) -> Stored:
    """Move ``files`` from ``work`` to their place, all at once, and delete the rest."""
    place = _place(reference)
    ready = work / "ready"
    ready.mkdir(exist_ok=True)
    for path in files:
        path.chmod(0o644)  # nodes have a user of their own
        path.replace(ready / path.name)
    names = tuple(path.name for path in files)
    size = sum((ready / name).stat().st_size for name in names)
    entry = {"reference": reference, "files": names, "size": size, "sha256": digest}
    (ready / _ENTRY).write_text(json.dumps(entry), encoding="utf-8")
    shutil.rmtree(place, ignore_errors=True)  # an entry that cannot be read
    ready.rename(place)
    shutil.rmtree(work)
    return Stored(reference, names, size, digest, place)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained(reference: str) -> Iterator[None]:
    """Turns errors of the disk into ModelError."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        raise ModelError(f"{reference} cannot be fetched into {_folder()}: {reason}") from error
