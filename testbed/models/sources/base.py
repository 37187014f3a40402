"""The base of sources whose models are fetched from elsewhere."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from testbed.models.sources import store
from testbed.schema.network.model_source import ModelSource, Progress


class FetchedSource(ModelSource):
    """A source whose models are fetched once, into the store that all runs share."""

    scheme: ClassVar[str]
    """What a reference begins with: ``hf:``."""

    def reference(self, name: str) -> str:
        """The whole reference of a model."""
        return self.scheme + name

    def find(self, name: str) -> Path | None:
        """The file in the store; raises ModelError if the source cannot have a model of this name."""
        self.check(name)
        found = store.find(self.reference(name))
        return None if found is None else found.path

    def fetch(self, name: str, progress: Progress) -> Path:
        """The file in the store, fetched unless it is there; raises ModelError."""
        self.check(name)
        kept = store.fill(
            self.reference(name), lambda folder: self.download(name, folder, progress), self.expected_hash(name)
        )
        return kept.path

    def expected_hash(self, name: str) -> str | None:
        """The SHA-256 that the model must have, if that is known beforehand."""
        del name
        return None

    @abstractmethod
    def download(self, name: str, folder: Path, progress: Progress) -> Sequence[Path]:
        """Fetch the model into ``folder``, going on where an earlier call stopped; returns its parts in order.

        Raises ModelError, and OSError if the disk fails.
        """
