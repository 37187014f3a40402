"""Models of the Hugging Face hub."""

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from testbed.models.gguf_file import part_names, sha256_of
from testbed.models.sources.base import FetchedSource
from testbed.models.sources.store import check_size
from testbed.schema.network.model_source import ModelError, Progress

_REFERENCE: Final = re.compile(r"(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.*[^/])")
_SHA256: Final = re.compile("[0-9a-f]{64}")


class Hub(FetchedSource):
    """A GGUF file of a Hugging Face repository. The hub's client reads HF_TOKEN, HF_ENDPOINT and so on."""

    form = "hf:OWNER/REPO[@REVISION]/FILE.gguf"
    scheme = "hf:"

    def check(self, name: str) -> None:
        """Raises ModelError unless ``name`` reads ``OWNER/REPO[@REVISION]/FILE.gguf``."""
        _files(name)

    def find(self, name: str) -> Path | None:
        """The file in the store, or in the hub's own cache."""
        return super().find(name) or _cached(_files(name))

    def download(self, name: str, folder: Path, progress: Progress) -> Sequence[Path]:
        """Fetch every part with the hub's client; raises ModelError."""
        from huggingface_hub import logging  # slow to import

        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        files = _files(name)
        with _explained(name):
            offers = [_Offer.of(file) for file in files]
        total = sum(offer.size for offer in offers)
        check_size(self.reference(name), total, folder, sum(path.stat().st_size for path in _present(folder)))
        before = accumulate((offer.size for offer in offers), initial=0)
        with _explained(name):
            return [
                offer.fetch(folder, _Place(progress, start, total))
                for offer, start in zip(offers, before, strict=False)
            ]


@dataclass(frozen=True)
class _File:
    """A file of a repository, at a revision or at its newest."""

    repository: str
    revision: str | None
    name: str


@dataclass(frozen=True)
class _Offer:
    """What the hub says of a file: its size in bytes, its commit, and its hash if it is a large file."""

    file: _File
    size: int
    commit: str | None
    sha256: str | None

    @classmethod
    def of(cls, file: _File) -> "_Offer":
        """What the hub says of ``file``, by one request: size in bytes, commit and hash."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        found = get_hf_file_metadata(hf_hub_url(file.repository, file.name, revision=file.revision))
        tag = found.etag if found.etag and _SHA256.fullmatch(found.etag) else None
        return cls(file, found.size or 0, found.commit_hash, tag)

    def fetch(self, folder: Path, place: "_Place") -> Path:
        """The file below ``folder``. A dropped connection is tried again as long as something comes through."""
        from huggingface_hub import hf_hub_download

        while True:
            before = place.position
            try:
                path = hf_hub_download(
                    self.file.repository,
                    self.file.name,
                    revision=self.commit or self.file.revision,
                    local_dir=folder,
                    tqdm_class=place.bar(),
                )
            except Exception:  # whatever the HTTP library of the hub's client raises
                if place.position <= before:
                    raise
            else:
                return self._checked(Path(path))

    def _checked(self, path: Path) -> Path:
        if self.sha256 is not None and sha256_of([path]) != self.sha256:
            path.unlink()
            raise ValueError(f"{self.file.name} does not have the sha256 {self.sha256} that the hub names")
        return path


@dataclass
class _Place:
    """How far a file is fetched, in bytes, as the hub's client tells its progress bar.

    Of the model's ``total``, ``start`` bytes are in other files.
    """

    progress: Progress
    start: int
    total: int
    position: int = 0

    def bar(self) -> Any:
        """A class of progress bars that draw nothing."""
        from tqdm import tqdm

        def move(position: int) -> None:
            self.position = position
            self.progress(self.start + position, self.total)

        class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
            def __init__(self, *arguments: Any, initial: int = 0, **options: Any) -> None:
                super().__init__(*arguments, **{**options, "disable": True})
                self._position = initial
                move(initial)

            def update(self, n: float | None = 1) -> None:
                self._position += int(n or 0)
                move(self._position)

        return Bar


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turns whatever the hub's client raises into ModelError, but for a full disk."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        lines = str(error).splitlines() or [type(error).__name__]
        raise ModelError(f"hf:{name} cannot be fetched: {lines[0]}") from error


def _files(name: str) -> list[_File]:
    """The parts of a model; raises ModelError."""
    match = _REFERENCE.fullmatch(name)
    if match is None:
        raise ModelError(f"hf:{name} must read {Hub.form}")
    folder, _, last = match["file"].rpartition("/")
    paths = [f"{folder}/{part}".lstrip("/") for part in part_names(last)]
    return [_File(match["repository"], match["revision"], path) for path in paths]


def _cached(files: Sequence[_File]) -> Path | None:
    """The first part in the hub's own cache, if all parts are there."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(file.repository, file.name, revision=file.revision) for file in files]
    paths = [path for path in found if isinstance(path, str)]
    return Path(paths[0]) if len(paths) == len(files) else None


def _present(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


HUB = Hub()
