"""Tables of links: CSV files in which each row says what a link's properties are from a time of play on.

time,bandwidth,delay,loss            time (s),bandwidth (mbit),delay (ms)
0s,10mbit,20ms,0%                    0,10,20
1.5s,2mbit,80ms,1%                   1.5,2,80
"""

import csv
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from testbed.core.units import DURATION

_TIME: Final = "time"
_CLOSEST: Final = 0.010  # seconds between two rows; the host makes each change, in milliseconds
_HEADER: Final = re.compile(r"(?P<name>[^([]*?)\s*(?:[(\[](?P<unit>[^)\]]*)[)\]])?")

Parsers = Mapping[str, Callable[[str], Any]]
"""By a column's name, what reads a quantity in it; raises ValueError."""


@dataclass(frozen=True)
class LinkTable:
    """The table in the file ``path``: rows of values by column, each from its moment on, in seconds of play.

    The first row is at 0, and the last one holds to the end.
    """

    path: str
    moments: tuple[float, ...]
    rows: tuple[Mapping[str, Any], ...]

    def at(self, seconds: float) -> Mapping[str, Any]:
        """The row that holds ``seconds`` after the beginning of play."""
        return self.rows[bisect_right(self.moments, seconds) - 1]

    @property
    def columns(self) -> Collection[str]:
        """The names of the properties that it has."""
        return self.rows[0].keys()

    def without(self, columns: Collection[str]) -> "LinkTable | None":
        """The table of its other columns; None if there are none."""
        rows = tuple({name: value for name, value in row.items() if name not in columns} for row in self.rows)
        return replace(self, rows=rows) if rows[0] else None


def is_table(path: Path) -> bool:
    """Whether the file begins as a table does; false for one that cannot be read."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
    except (OSError, UnicodeDecodeError):
        return False
    return "," in first or first.strip().lower().startswith(_TIME)


def read_table(path: Path, parsers: Parsers) -> LinkTable:
    """The table in a file, whose columns are those of ``parsers`` and the time; raises ValueError with the line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True, skipinitialspace=True)
        try:
            rows = list(_rows(reader, parsers))
        except UnicodeDecodeError:
            raise ValueError(f"{path} is no text in UTF-8") from None
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise ValueError(f"{path} has no rows below its header")
    return LinkTable(str(path), tuple(time for time, _ in rows), tuple(row for _, row in rows))


def _rows(reader: Iterator[list[str]], parsers: Parsers) -> Iterator[tuple[float, Mapping[str, Any]]]:
    """Each row's time and its values."""
    units, before = _header(next(reader), parsers), -math.inf
    for cells in filter(None, reader):
        if len(cells) != len(units):
            raise ValueError(f"the header has {len(units)} columns, and this row has {len(cells)}")
        row = {
            name: _value(name, f"{cell.strip()}{units[name]}", parsers) for name, cell in zip(units, cells, strict=True)
        }
        time = row.pop(_TIME)
        if math.isinf(before) and time > 0:
            raise ValueError("the first row must be at 0s; it says what the link is until the second one")
        if time < before + _CLOSEST:
            raise ValueError(f"rows must be in the order of time, at least {DURATION.format(_CLOSEST)} apart")
        before = time
        yield time, row


def _header(cells: list[str], parsers: Parsers) -> dict[str, str]:
    """The units of the columns by their names; "" where each cell has a unit of its own."""
    units: dict[str, str] = {}
    for cell in cells:
        match = _HEADER.fullmatch(cell.strip().lower())
        name = match["name"] if match else cell
        if name not in (_TIME, *parsers):
            raise ValueError(f"{cell!r} is no column of a table of a link; known are {_TIME}, {', '.join(parsers)}")
        if name in units:
            raise ValueError(f"the column {name!r} is there twice")
        units[name] = (match and match["unit"]) or ""
    if _TIME not in units or len(units) == 1:
        raise ValueError(f"a table needs the column {_TIME!r} and at least one of {', '.join(parsers)}")
    return units


def _value(name: str, written: str, parsers: Parsers) -> Any:
    try:
        return DURATION.parse(written) if name == _TIME else parsers[name](written)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
