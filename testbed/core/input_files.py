"""Files that a scenario names. Each is found from the file that names it, and every run keeps a copy.

A kind declares such an option with the type :data:`InputFile`::

    class Arrivals(ArrivalProcess):
        trace: InputFile
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ValidationInfo


class InputPath(str):
    """The absolute path of a file that a run reads."""

    __slots__ = ()


def anchored(path: str, context: Mapping[str, Path] | None, part: str = "") -> Path:
    """``path`` as an absolute one, counted from the directory of the file that says it; ``~`` is the home directory.

    ``context`` is that of a validator: directories by the included part of the file, "" for the rest.
    """
    known = context or {}
    return (known.get(part, known.get("", Path())) / Path(path).expanduser()).absolute()


def input_file(part: str) -> Any:
    """What annotates a string that is the path of a file that a run reads, in an included ``part`` of the scenario."""

    def anchor(path: str, info: ValidationInfo) -> InputPath:
        return InputPath(anchored(path, info.context, part))

    return AfterValidator(anchor)


InputFile = Annotated[str, input_file("")]
"""The path of a file that a run reads: absolute once it is validated."""


def input_files(value: object) -> Iterator[Path]:
    """The files that a validated part of a scenario, or anything in it, reads."""
    match value:
        case InputPath():
            yield Path(value)
        case BaseModel():
            yield from input_files({**vars(value), **(value.__pydantic_private__ or {})})
        case dict():
            for item in value.values():
                yield from input_files(item)
        case list() | tuple():
            for item in value:
                yield from input_files(item)


def relocated(written: Any, places: Mapping[str, str]) -> Any:
    """A dumped part of a scenario in which ``places`` has other paths for files, by their absolute ones."""
    match written:
        case dict():
            return {key: relocated(value, places) for key, value in written.items()}
        case list():
            return [relocated(value, places) for value in written]
        case str():
            return places.get(written, written)
    return written
