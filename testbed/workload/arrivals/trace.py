"""Arrivals as they were recorded."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from testbed.core import seeds
from testbed.core.input_files import InputFile
from testbed.workload.arrivals.base import ArrivalProcess, Lengths, Mistake, Slot

_TIMES: Final = ("timestamp",)
"""Names of the column of times, in small letters, in files of Azure, BurstGPT and Mooncake."""
_INPUTS: Final = ("contexttokens", "request tokens", "input_length")
_OUTPUTS: Final = ("generatedtokens", "response tokens", "output_length")


@dataclass(frozen=True)
class _Row:
    """A line of a trace, counted from 1, and its values by column."""

    line: int
    values: Mapping[str, Any]


class Trace(ArrivalProcess):
    """The times of a file, from its first row on: CSV with a header, or JSON Lines.

    A time is a number of seconds, or a date with a time. The node of each prompt is drawn from the seed.
    """

    file: InputFile = Field(description="CSV with a header, or JSON Lines")
    time: str | None = Field(None, description="the column of times; left out, the one that known traces have")
    input: str | None = Field(None, description="the column of a prompt's tokens; left out, as for `time`")
    output: str | None = Field(None, description="the column of an answer's tokens; left out, as for `time`")
    scale: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="seconds of play for a second of the trace: 0.5 is twice as fast"
    )

    def slots(self, nodes: Sequence[str], seed: int) -> Iterator[Slot]:
        """Slots at the times of the file."""
        generator = seeds.stream(seed, "arrivals", "owners")
        return (Slot(generator.choice(nodes), at) for at in self._times())

    def seconds(self, count: int, nodes: Sequence[str]) -> float:
        """The time of the last row that is used."""
        del nodes
        return max(islice(self._times(), count))

    def mistakes(self, count: int, nodes: Sequence[str]) -> Iterator[Mistake]:
        """The first mistake in the rows that are used, or that there are too few."""
        del nodes
        try:
            found = sum(1 for _ in islice(self._times(), count))
        except ValueError as error:
            yield ("file",), str(error)
            return
        if found < count:
            yield ("file",), f"{self.file} has {found} rows, which are fewer than the {count} prompts of `count`"

    def lengths(self) -> Iterator[Lengths]:
        """The lengths in each row; raises ValueError that names the wrong line."""
        columns: tuple[str, str] | None = None
        for row in _rows(Path(self.file)):
            if columns is None:
                columns = self._column(row, "input", _INPUTS), self._column(row, "output", _OUTPUTS)
            yield Lengths(self._tokens(row, columns[0]), self._tokens(row, columns[1]))

    def _times(self) -> Iterator[float]:
        """Seconds since the first row; raises ValueError that names the wrong line."""
        rows = _rows(Path(self.file))
        column, first, before = None, 0.0, 0.0
        for row in rows:
            if column is None:
                column = self._column(row, "time", _TIMES)
                first = before = self._seconds(row, column)
            now = self._seconds(row, column)
            if now < before:
                written = row.values[column]
                raise ValueError(
                    f"{self.file}, line {row.line}: {written} is before the row above; times must not fall"
                )
            before = now
            yield (now - first) * self.scale
        if column is None:
            raise ValueError(f"{self.file} has no rows; it needs a header and a row for each prompt, or JSON Lines")

    def _column(self, row: _Row, option: Literal["time", "input", "output"], known: Sequence[str]) -> str:
        """The column that ``option`` names, or the one with a ``known`` name; raises ValueError."""
        there, named = f"there are {', '.join(map(repr, row.values))}", getattr(self, option)
        if named is not None:
            if named not in row.values:
                raise ValueError(f"{self.file} has no column {named!r}; {there}")
            return str(named)
        found = [name for name in row.values if str(name).lower() in known]
        if len(found) != 1:
            raise ValueError(
                f"{self.file} does not say which column is the {option}; name it with `{option}:`; {there}"
            )
        return found[0]

    def _tokens(self, row: _Row, column: str) -> int:
        written = str(row.values.get(column)).strip()
        if not (written.isascii() and written.isdigit()) or int(written) < 1:
            raise ValueError(
                f"{self.file}, line {row.line}: {column} is {written!r}; it must be a number of tokens from 1"
            )
        return int(written)

    def _seconds(self, row: _Row, column: str) -> float:
        written = row.values.get(column)
        try:
            return _seconds(written)
        except (TypeError, ValueError):
            raise ValueError(
                f"{self.file}, line {row.line}: {written!r} is no time; write seconds, or a date and a time"
            ) from None


def _seconds(written: Any) -> float:
    """Seconds since any moment, the same for all of a file; raises ValueError or TypeError."""
    try:
        seconds = float(written)
    except ValueError:
        moment = datetime.fromisoformat(written.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not abs(seconds) < float("inf"):
        raise ValueError
    return seconds


def _rows(path: Path) -> Iterator[_Row]:
    """The rows of a file; raises ValueError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            begin = file.read(1)
            file.seek(0)
            yield from _json_rows(path, file) if begin == "{" else _csv_rows(path, file)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8; a trace is CSV with a header, or JSON Lines") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _csv_rows(path: Path, lines: Iterator[str]) -> Iterator[_Row]:
    reader = csv.DictReader(lines)
    try:
        for row in reader:
            yield _Row(reader.line_num, {name: value for name, value in row.items() if name is not None})
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None


def _json_rows(path: Path, lines: Iterator[str]) -> Iterator[_Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: is no JSON object; JSON Lines has one on each line")
        yield _Row(number, row)
