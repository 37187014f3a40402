"""The page of several runs side by side."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from testbed.analysis.comparison.changes import Change, Comparison, compare_scenarios
from testbed.analysis.recorded import RecordedRun, load_runs
from testbed.schema.metric import Traits
from testbed.show.axis import ticks
from testbed.show.report.lines import COLUMNS, line_path
from testbed.show.report.page import REPORT
from testbed.show.report.rendering import quantity, render, write_page

_SHOWN: Final = ("accuracy", "completed", "latency.mean", "latency.p95", "queue.mean", "tokens_per_second")
_VERDICT_TONES: Final = {"better": "good", "worse": "bad", "different": "warn"}


def write_comparison(base: Path, new: Sequence[Path], out: Path) -> None:
    """Write the page that compares the runs in ``new`` with those in ``base``."""
    comparisons = compare_scenarios(load_runs([base]), load_runs(new))
    pages = [ComparisonPage(comparison, out.parent) for comparison in comparisons]
    title = ", ".join(comparison.scenario for comparison in comparisons)
    write_page(out, render("comparison.html", f"{title}: compared", pages=pages, shown=_SHOWN))


@dataclass(frozen=True)
class Interval:
    """The interval of a change in percent of the width of its figure; ``at`` is the change itself."""

    low: float
    high: float
    at: float


@dataclass(frozen=True)
class ChangeRow:
    """The change of a metric, for people. There is no interval if the base is 0, or observations are too few."""

    metric: str
    base: str
    new: str
    by: str
    interval: Interval | None
    verdict: str
    tone: str


@dataclass(frozen=True)
class RunRow:
    """One run; ``report`` is the path of its own page, empty if there is none."""

    side: str
    name: str
    report: str
    seed: int
    verdict: str
    fidelity: str
    values: Sequence[str]


@dataclass(frozen=True)
class ComparisonPage:
    """The parts of the page for one scenario; the page is to be in ``directory``."""

    comparison: Comparison
    directory: Path

    @property
    def regressed(self) -> bool:
        """Whether any metric is worse."""
        return bool(self.comparison.regressions)

    @property
    def found(self) -> str:
        """How many metrics are worse, better and different, in words."""
        return self.comparison.found

    @property
    def changes(self) -> Iterator[ChangeRow]:
        """A row for each metric."""
        for change in self.comparison.changes:
            yield ChangeRow(
                change.metric,
                quantity(change.base, change.traits.unit),
                quantity(change.new, change.traits.unit),
                change.extent,
                self._interval(change),
                change.judged,
                _VERDICT_TONES.get(change.verdict, "quiet"),
            )

    @property
    def reach(self) -> float:
        """The change at the edges of the figures, as a share of the base's value; at most 1."""
        ends = [abs(end) for change in self.comparison.changes for end in change.relative or ()]
        return min(1.0, max(ends, default=0.0)) or 1.0

    def _interval(self, change: Change) -> Interval | None:
        if change.relative is None or not change.base or change.new is None:
            return None
        low, high = change.relative
        return Interval(*(self._place(share) for share in (low, high, change.new / change.base - 1)))

    def _place(self, share: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, share / self.reach)), 2)

    @property
    def runs(self) -> Iterator[RunRow]:
        """A row for each run."""
        for side, runs in (("base", self.comparison.base), ("new", self.comparison.new)):
            for run in runs:
                report = run.path / REPORT
                yield RunRow(
                    side,
                    run.path.name,
                    os.path.relpath(report, self.directory) if report.exists() else "",
                    run.seed,
                    run.verdict,
                    run.fidelity,
                    [quantity(run.totals.get(metric), run.traits.get(metric, Traits()).unit) for metric in _SHOWN],
                )

    @cached_property
    def slowest(self) -> float:
        """The longest latency of any prompt in seconds, which is the width of the figure of latencies."""
        return max((latencies[-1] for latencies in self._latencies if latencies), default=0.0)

    @property
    def ticks(self) -> list[float]:
        """The marks of the axis of seconds."""
        return ticks(self.slowest)

    @property
    def latencies(self) -> list[str]:
        """The SVG paths of base and new: the share of prompts that were answered within a time."""
        return [_distribution(latencies) for latencies in self._latencies]

    @cached_property
    def _latencies(self) -> tuple[list[float], list[float]]:
        return _sorted_latencies(self.comparison.base), _sorted_latencies(self.comparison.new)


def _sorted_latencies(runs: Sequence[RecordedRun]) -> list[float]:
    return sorted(seconds for run in runs for seconds in run.columns["latency"] if not math.isnan(seconds))


def _distribution(latencies: Sequence[float]) -> str:
    count = len(latencies)
    ranks = sorted({round(number * (count - 1) / COLUMNS) for number in range(COLUMNS + 1)}) if count else []
    return line_path([(latencies[rank], (rank + 1) / count) for rank in ranks])
