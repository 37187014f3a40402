"""Results as JSON lines. Each is written when its measurement is complete, so an interrupted benchmark can continue."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from link_table.grid import Cell
from testbed.core.errors import SpecError


@dataclass(frozen=True)
class HostNote:
    """The host and time of the measurements that follow."""

    kernel: str
    cpus: int
    begin: str
    commit: str
    kind: Literal["host"] = "host"


@dataclass(frozen=True)
class CellResult:
    """The measurements of one cell with one contender.

    Cells without loss have ``round_trips``, mean seconds of bursts of pings, and ``rates``, mean bits per second of TCP
    in half seconds. Cells with loss have the echo requests ``sent`` and the replies ``received``. ``trouble`` is the
    reason if nothing was measured.
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
    """A number measured by a case, with its bounds; None is no bound."""

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
        """Whether the number was measured and is within its bounds."""
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
        """Read the file if it exists; raises SpecError if it has other content."""
        self._path = path
        self._results = list(_read(path)) if path.exists() else []

    def add(self, *results: Result) -> None:
        """Append results to the file and to this object."""
        self._results += results
        with self._path.open("a") as file:
            file.writelines(_LINE.dump_json(result).decode() + "\n" for result in results)

    @property
    def hosts(self) -> list[HostNote]:
        """A note for each start of the benchmark with this file."""
        return [result for result in self._results if isinstance(result, HostNote)]

    @property
    def cells(self) -> dict[tuple[str, Cell], CellResult]:
        """The results of cells, by contender and cell."""
        found = (result for result in self._results if isinstance(result, CellResult))
        return {(result.contender, result.cell): result for result in found}

    @property
    def cases(self) -> list[CaseResult]:
        """The results of cases, in order of measurement."""
        return [result for result in self._results if isinstance(result, CaseResult)]
