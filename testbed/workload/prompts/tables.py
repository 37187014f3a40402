"""Rows of files: JSON lines, CSV and Parquet."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow
import pyarrow.parquet


@dataclass(frozen=True)
class Row:
    """A row: its columns, and its file and line for messages."""

    columns: Mapping[str, Any]
    place: str


def rows_of(path: Path, header: Sequence[str]) -> list[Row]:
    """The rows of a file; raises ValueError. ``header`` names the columns of a CSV file without a line of names."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if (read := _READERS.get(path.suffix.lower())) is None:
        raise ValueError(f"{path}: the name must end in {', '.join(_READERS)}")
    if header and read is not _csv:
        raise ValueError(f"{path}: `header` is for CSV files; this one names its columns itself")
    try:
        rows = list(read(path, header))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not rows:
        raise ValueError(f"{path}: has no rows")
    return rows


def _jsonl(path: Path, _: Sequence[str]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                columns = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}:{number}: is not JSON: {error}") from None
            if not isinstance(columns, dict):
                raise ValueError(f"{path}:{number}: must be a JSON object, with columns as keys")
            yield Row(columns, f"{path}:{number}")


def _csv(path: Path, header: Sequence[str]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        names, line = list(header), 1
        try:
            for cells in reader:
                begin, line = line, reader.line_num + 1
                if not cells:
                    continue
                if not names:
                    names = cells
                    continue
                if len(cells) != len(names):
                    raise ValueError(f"{path}:{begin}: has {len(cells)} cells; the columns are {', '.join(names)}")
                yield Row(dict(zip(names, cells, strict=True)), f"{path}:{begin}")
        except csv.Error as error:
            raise ValueError(f"{path}:{reader.line_num}: is not CSV: {error}") from None


def _parquet(path: Path, _: Sequence[str]) -> Iterator[Row]:
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: is not a Parquet file: {str(error).splitlines()[0]}") from None
    yield from (Row(columns, f"{path}, row {number}") for number, columns in enumerate(rows, 1))


_READERS: Final[dict[str, Callable[[Path, Sequence[str]], Iterator[Row]]]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
