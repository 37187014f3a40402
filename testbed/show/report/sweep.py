"""The page of a sweep."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from testbed.analysis.comparison.tradeoff import quality_measures
from testbed.analysis.comparison.visits import Outcome, Visited, scattered
from testbed.core.units import with_margin
from testbed.schema.metric import metrics
from testbed.show.report.page import REPORT, TONES
from testbed.show.report.rendering import quantity, render, write_page
from testbed.show.sweep_figure import draw

SWEEP_PAGE: Final = "sweep.html"
_SHOWN: Final = ("accuracy", "completed", "latency.mean", "latency.p95", "queue.mean", "tokens_per_second")


def write_sweep(scenario: str, visited: Sequence[Visited], directory: Path) -> None:
    """Write the page of a sweep whose runs lie in ``directory``; there must be at least one point."""
    page = SweepPage(visited, directory)
    write_page(directory / SWEEP_PAGE, render("sweep.html", f"{scenario}: sweep", page=page, scenario=scenario))


class RunLink(NamedTuple):
    """A run of a point; ``report`` is the path of its page from the sweep's, empty if there is none."""

    seed: int
    report: str
    verdict: str
    tone: str
    remark: str


class PointRow(NamedTuple):
    """A point: the values of the keys and of the metrics, each with what was published, and the runs."""

    keys: Sequence[str]
    values: Sequence[tuple[str, str]]
    runs: Sequence[RunLink]


@dataclass(frozen=True)
class SweepPage:
    """The parts of the page of a sweep, for the template."""

    visited: Sequence[Visited]
    directory: Path

    @property
    def figure(self) -> str:
        """The figure as a data URL, so that its style is its own."""
        return f"data:image/svg+xml;base64,{base64.b64encode(draw(self.visited).encode()).decode()}"

    @property
    def keys(self) -> list[str]:
        """The keys that the points set."""
        return list(dict.fromkeys(key for visit in self.visited for key in visit.point.texts))

    @property
    def metrics(self) -> list[str]:
        """The metrics that any point has a value of."""
        return [name for name in _SHOWN if any(name in visit.estimates for visit in self.visited)]

    @property
    def measures(self) -> str:
        """The measures of what quality costs, for people; empty if the points have none."""
        return " · ".join(f"{name} {value:.3f}" for name, value in quality_measures(self.visited).items())

    @property
    def scattered(self) -> list[str]:
        """A sentence for each seed that several hosts have played."""
        return scattered(self.visited)

    @property
    def rows(self) -> Iterator[PointRow]:
        """A row for each point."""
        for visit in self.visited:
            yield PointRow(
                [visit.point.texts.get(key, "–") for key in self.keys],
                [(_value(visit, name), _published(visit, name)) for name in self.metrics],
                [self._link(visit, outcome) for outcome in visit.outcomes],
            )

    def _link(self, visit: Visited, outcome: Outcome) -> RunLink:
        report = Path(visit.point.directory, f"seed-{outcome.seed}", REPORT)
        href = str(report) if (self.directory / report).exists() else ""
        tone, _ = TONES.get(outcome.verdict, ("bad", "✗"))
        remark = "distorted" if outcome.distorted else ""
        return RunLink(outcome.seed, href, outcome.verdict, tone, remark)


def _value(visit: Visited, name: str) -> str:
    estimate = visit.estimates.get(name)
    return "–" if estimate is None else with_margin(estimate.mean, estimate.margin, _unit(name))


def _published(visit: Visited, name: str) -> str:
    value = visit.point.published_values.get(name)
    return "" if value is None else quantity(value, _unit(name))


def _unit(name: str) -> str:
    known, _ = metrics()
    return known[name].traits.unit
