"""Copies of the files that a run reads, so that its directory stands alone: traces, device profiles, one-file kinds."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.analysis.recorded import MANIFEST
from testbed.core.input_files import input_files
from testbed.core.registry import file_hash, file_of
from testbed.schema.reading.document import Document
from testbed.schema.scenario import Scenario

INPUTS: Final = "inputs"
"""The folder of the copies in a run directory."""


@dataclass(frozen=True)
class Input:
    """A file that a run reads: its path when the run began, the path of its copy in the run directory, its SHA-256."""

    source: Path
    copy: str
    sha256: str

    def as_dict(self) -> dict[str, str]:
        """For ``manifest.json``."""
        return {"source": str(self.source), "sha256": self.sha256}


def copy_inputs(scenario: Scenario, directory: Path) -> list[Input]:
    """Copy every file that the scenario reads into the run directory; returns what was copied."""
    sources = [*input_files(scenario), *scenario.kind_files]
    copied: list[Input] = []
    for source in dict.fromkeys(sources):
        target = directory / INPUTS / _free_name(source, [one.copy for one in copied])
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)
        copied.append(Input(source, str(target.relative_to(directory)), file_hash(target)))
    return copied


def recorded_code(scenario: Path) -> list[Path]:
    """The Python files whose code runs again with a recorded scenario; empty for one that is in no run directory.

    They are read off the file itself: to load the scenario would execute them.
    """
    if not (scenario.parent / MANIFEST).exists():
        return []
    return list(dict.fromkeys(_named_code(Document.load(scenario).data)))


def _named_code(written: Any) -> Iterator[Path]:
    match written:
        case Mapping():
            for key, value in written.items():
                yield from (*_named_code(key), *_named_code(value))
        case str():
            yield from filter(None, [file_of(written)])
        case list():
            for value in written:
                yield from _named_code(value)


def _free_name(source: Path, taken: list[str]) -> str:
    """The file's name, with a number if another file has it."""
    names = (source.name, *(f"{source.stem}-{number}{source.suffix}" for number in range(2, len(taken) + 2)))
    return next(name for name in names if f"{INPUTS}/{name}" not in taken)


def relocated(written: Any, inputs: Mapping[str, str]) -> Any:
    """A dumped scenario whose ``inputs``, by absolute path, are named by the paths of their copies."""
    match written:
        case dict():
            return {relocated(key, inputs): relocated(value, inputs) for key, value in written.items()}
        case list():
            return [relocated(value, inputs) for value in written]
        case str() if written in inputs:
            return inputs[written]
        case str() if str(path := file_of(written)) in inputs:
            return inputs[str(path)] + written.removeprefix(str(path))
    return written
