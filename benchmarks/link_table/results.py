"""What was measured, as JSON lines: a line is written when its measurement is done, so a broken run goes on there."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Literal

from pydantic import TypeAdapter

from link_table.grid import Cell
from testbed.results.metrics import wilson_interval


@dataclass(frozen=True)
class HostNote:
    """Where and when the measurements that follow were made; ``tcp_rate`` (bit/s) is what a bare veth pair carries."""

    kernel: str
    cpus: int
    begin: str
    commit: str
    tcp_rate: float
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

    @property
    def round_trip(self) -> float:
        """Seconds: the median burst's, as a busy host makes single bursts slow and none fast."""
        return median(self.round_trips)

    @property
    def tcp_rate(self) -> float:
        """Bits per second over the whole time."""
        return fmean(self.rates)

    @property
    def loss(self) -> float:
        """The share of frames that was lost."""
        return 1 - self.received / self.sent

    @property
    def loss_interval(self) -> tuple[float, float]:
        """The 95 % interval of the share."""
        interval = wilson_interval(self.sent - self.received, self.sent)
        assert interval is not None
        return interval


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


def noise(values: Iterable[float]) -> float:
    """By how much a mean of these repeated measurements may be off: twice its standard error."""
    repeats = list(values)
    return 2 * stdev(repeats) / sqrt(len(repeats)) if len(repeats) > 1 else 0.0


class Store:
    """A file of results."""

    def __init__(self, path: Path) -> None:
        """Read what there is."""
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._results = [_LINE.validate_json(line) for line in lines]

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
