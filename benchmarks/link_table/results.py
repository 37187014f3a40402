"""What was measured, as JSON lines: a line is written when its measurement is done, so a broken run goes on there."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from link_table.grid import Cell
from testbed.core.errors import SpecError


@dataclass(frozen=True)
class HostNote:
    """Where and when the measurements that follow were made."""

    kernel: str
    cpus: int
    begin: str
    commit: str
    kind: Literal["host"] = "host"


@dataclass(frozen=True)
class CellResult:
    """What one contender made of one cell.

    ``round_trips`` (s) are means of bursts of pings, ``rates`` (bit/s) those of half seconds of TCP, measured where
    there is no loss; ``sent`` echoes and those ``received`` back where there is. ``trouble`` is why there are none.
    """

    contender: str
    cell: Cell
    round_trips: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    sent: int = 0
    received: int = 0
    trouble: str = ""
    kind: Literal["cell"] = "cell"


@dataclass(frozen=True)
class CaseResult:
    """One number that a case measured, and the bounds that it has to keep: None where there is none."""

    contender: str
    case: str
    what: str
    unit: str
    measured: float | None
    least: float | None = None
    most: float | None = None
    trouble: str = ""
    kind: Literal["case"] = "case"

    @property
    def held(self) -> bool:
        """Whether it was measured and keeps its bounds."""
        value = self.measured
        return (
            value is not None
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )


Result = HostNote | CellResult | CaseResult
_LINE: TypeAdapter[Result] = TypeAdapter(Result)


def _read(path: Path) -> Iterator[Result]:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            yield _LINE.validate_json(line)
        except ValidationError:
            message = "this is no result of the benchmark; name another file, or say --fresh to overwrite it"
            raise SpecError.of(path, message, number) from None


class Store:
    """A file of results."""

    def __init__(self, path: Path) -> None:
        """Read what there is; raises SpecError if that is something else."""
        self._path = path
        self._results = list(_read(path)) if path.exists() else []

    def add(self, *results: Result) -> None:
        """Keep results, now and in the file."""
        self._results += results
        with self._path.open("a") as file:
            file.writelines(_LINE.dump_json(result).decode() + "\n" for result in results)

    @property
    def hosts(self) -> list[HostNote]:
        """One for each time that the benchmark was started on the file."""
        return [result for result in self._results if isinstance(result, HostNote)]

    @property
    def cells(self) -> dict[tuple[str, Cell], CellResult]:
        """By contender and cell."""
        found = (result for result in self._results if isinstance(result, CellResult))
        return {(result.contender, result.cell): result for result in found}

    @property
    def cases(self) -> list[CaseResult]:
        """In the order in which they were measured."""
        return [result for result in self._results if isinstance(result, CaseResult)]
