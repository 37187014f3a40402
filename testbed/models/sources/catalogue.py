"""Models with a name of their own: ``model: smollm2-135m-instruct``."""

import shutil
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import Field, TypeAdapter
from ruamel.yaml import YAML

from testbed.core.spec import Spec
from testbed.models.gguf_file import sha256_of
from testbed.models.sources.base import FetchedSource
from testbed.models.sources.store import check_size
from testbed.schema.network.model_source import ModelError, Progress, forms, source_of


class Entry(Spec):
    """A model of the catalogue. ``places`` are references that are tried in order."""

    about: str
    licence: str
    terms: str | None = Field(None, description="address of terms that whoever fetches the model accepts")
    size: int = Field(gt=0, description="bytes")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    chat: str = Field(description="the format of its chat template; none of a base model")
    places: list[str] = Field(min_length=1)


class Catalogue(FetchedSource):
    """Known models with licence, size and hash, wherever they can be had; `testbed models` lists them."""

    form = "NAME of `testbed models`"
    scheme = ""

    def check(self, name: str) -> None:
        """Raises ModelError if there is no such model."""
        _entry(name)

    def size(self, name: str) -> int:
        """The size in the catalogue."""
        return _entry(name).size

    def terms(self, name: str) -> str | None:
        """The terms in the catalogue."""
        return _entry(name).terms

    def download(self, name: str, folder: Path, progress: Progress) -> Sequence[Path]:
        """Fetch the model from the first place that has it; raises ModelError with every place's reason."""
        entry, reasons = _entry(name), list[str]()
        check_size(name, entry.size, folder)
        for number, place in enumerate(entry.places):
            source, called = source_of(place)
            assert isinstance(source, FetchedSource)
            work = folder / str(number)
            work.mkdir(exist_ok=True)
            try:
                found = source.download(called, work, lambda done, total: progress(done, total or entry.size))
            except ModelError as error:
                reasons.append(str(error))
                continue
            if sha256_of(found) == entry.sha256:
                return found
            shutil.rmtree(work)
            reasons.append(f"{place} has another file")
        raise ModelError(f"{name} cannot be fetched; {'; '.join(reasons)}")


@cache
def entries() -> dict[str, Entry]:
    """The models by name, from ``catalogue.yaml``."""
    text = (files(__package__) / "catalogue.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Entry]).validate_python(YAML(typ="safe").load(text))


def _entry(name: str) -> Entry:
    try:
        return entries()[name]
    except KeyError:
        others = ", ".join(form for form in forms() if form != Catalogue.form)
        raise ModelError(
            f"there is no model {name!r}; the catalogue has {', '.join(entries())}, and other models are {others}"
        ) from None


CATALOGUE = Catalogue()
