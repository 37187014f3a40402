"""Two sets of runs side by side: metric by metric better, worse, or no difference found.

A metric's change is the mean over the new runs less that over the base runs. How far chance alone could move it is told
by the bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13): what was observed is
drawn again with replacement, thousands of times, and the changes that come of it are ranked.

- Metrics that follow from single prompts: the prompts of each run are drawn again. Where there are several runs, these
  are drawn again, too; if they differ by more than their prompts explain, the interval is as much wider.
- All others, such as the queues': runs are drawn again, if there are at least five a side.

Runs of the same seed got the same prompts. Such sides are paired: one draw serves both, so that what the prompts have
in common cancels, and far smaller changes show.

Three things keep chance, and hosts that are never quite the same, from raising alarms. All intervals of a comparison
hold together (Bonferroni), with ``1 - ALARM``. They are as much wider as Student's t is than the normal distribution,
because few observations vary less among themselves than what they are drawn from does (Hesterberg, The American
Statistician 69, 2015). And a change must be more than a margin.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from testbed.errors import SpecError
from testbed.results.recorded import BUSY, CPU, INFERENCE, RecordedRun, telling
from testbed.results.student import t_quantile
from testbed.spec.expectation import BETTER, METRICS

ALARM: Final = 0.01
"""The probability that a comparison of equal runs finds any difference: of twenty, hardly ever more than one."""

MARGIN: Final = 0.05
"""Share of the base's value by which a metric must change to count, by default."""

SPEED: Final = "speed."
"""``speed.a`` is the share of a core that node a got while it had work: CPU time, by that and the wait behind its
cap. Other load on the host hardly changes it."""

_BETTER_OF_NODES: Final[Mapping[str, Literal["higher", "lower"]]] = {INFERENCE: "lower", SPEED: "higher"}
_SHARES: Final = ("accuracy", "completed")  # are counted, not timed: no host moves them, and any change counts
_RESAMPLES: Final = 10_000
_FEWEST: Final = 5  # observations of which drawing again tells anything
_BLOCK: Final = 1_000_000  # values that are drawn at once, to bound the memory

Values = npt.NDArray[np.float64]

Verdict = Literal["better", "worse", "different", "no difference found", "not tested"]
"""``different`` are metrics of which neither way is better; ``not tested``, those seen too few times."""


@dataclass(frozen=True)
class Change:
    """What became of one metric. The interval is that of ``new - base``, None if there were too few observations."""

    metric: str
    base: float | None
    new: float | None
    interval: tuple[float, float] | None
    verdict: Verdict

    @property
    def range(self) -> tuple[float, float] | None:
        """The interval in shares of the base's value; None where that is zero."""
        if self.interval is None or not self.base:
            return None
        low, high = self.interval
        return low / abs(self.base), high / abs(self.base)

    def __str__(self) -> str:
        range_ = "" if self.range is None else " ({:+.0%} to {:+.0%})".format(*self.range)
        return f"{self.metric}: {self.verdict}, was {self.base:.4g} in the baseline, is {self.new:.4g}{range_}"


@dataclass(frozen=True)
class Comparison:
    """What became of the metrics of one scenario."""

    scenario: str
    base: Sequence[RecordedRun]
    new: Sequence[RecordedRun]
    paired: bool
    margin: float
    changes: Sequence[Change]

    @property
    def regressions(self) -> list[Change]:
        """The metrics that are worse."""
        return [change for change in self.changes if change.verdict == "worse"]

    @property
    def resampled(self) -> str:
        """What was drawn again."""
        return "prompts" if max(len(self.base), len(self.new)) == 1 else "runs, and prompts within them"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "scenario": self.scenario,
            "base": [str(run.path) for run in self.base],
            "new": [str(run.path) for run in self.new],
            "paired": self.paired,
            "resampled": self.resampled,
            "margin": self.margin,
            "alarm": ALARM,
            "metrics": {
                change.metric: {
                    "base": change.base,
                    "new": change.new,
                    "interval": change.interval,
                    "verdict": change.verdict,
                }
                for change in self.changes
            },
        }


def compare_scenarios(
    base: Sequence[RecordedRun], new: Sequence[RecordedRun], margin: float = MARGIN
) -> list[Comparison]:
    """Compare runs scenario by scenario, without those that tell nothing; raises SpecError if the sides share none.

    A scenario that only one side has is left out.
    """
    before, after = _by_scenario(base), _by_scenario(new)
    shared = [scenario for scenario in before if scenario in after]
    if not shared:
        raise SpecError.of(
            "compare",
            "no scenario was played to its end, and validly, on both sides "
            f"(base: {', '.join(before) or 'none'}; new: {', '.join(after) or 'none'})",
        )
    return [compare(before[scenario], after[scenario], margin) for scenario in shared]


def _by_scenario(runs: Sequence[RecordedRun]) -> dict[str, list[RecordedRun]]:
    scenarios = dict.fromkeys(run.scenario for run in runs)
    parts = {name: telling(run for run in runs if run.scenario == name) for name in scenarios}
    return {name: part for name, part in parts.items() if part}


def compare(base: Sequence[RecordedRun], new: Sequence[RecordedRun], margin: float = MARGIN) -> Comparison:
    """Compare runs of one scenario, at least one a side."""
    pairs = _pairs(base, new)
    if pairs:
        base, new = [run for run, _ in pairs], [run for _, run in pairs]
    before, after = _Side.of(base, draws=0), _Side.of(new, draws=0 if pairs else 1)
    metrics = [metric for metric in before.values if metric in after.values]
    testable = [metric for metric in metrics if min(before.observations(metric), after.observations(metric)) >= _FEWEST]
    intervals = {metric: _interval(metric, before, after, ALARM / len(testable)) for metric in testable}
    changes = [_change(metric, before, after, intervals.get(metric), margin) for metric in metrics]
    return Comparison(base[0].scenario, base, new, bool(pairs), margin, changes)


def _pairs(base: Sequence[RecordedRun], new: Sequence[RecordedRun]) -> list[tuple[RecordedRun, RecordedRun]]:
    """Runs that got the same prompts; none unless every run of the side with fewer has a partner."""
    waiting: defaultdict[object, list[RecordedRun]] = defaultdict(list)
    for run in base:
        waiting[run.seed, run.prompts].append(run)
    pairs = [(waiting[key].pop(0), run) for run in new if waiting[key := (run.seed, run.prompts)]]
    return pairs if len(pairs) == min(len(base), len(new)) else []


def _change(
    metric: str, before: "_Side", after: "_Side", interval: tuple[float, float] | None, margin: float
) -> Change:
    base, new = before.values[metric], after.values[metric]
    if base is None or new is None or interval is None:
        return Change(metric, base, new, None, "not tested")
    least = 0.0 if metric in _SHARES else margin * abs(base)
    return Change(metric, base, new, interval, _verdict(metric, new - base, interval, least))


def _verdict(metric: str, change: float, interval: tuple[float, float], least: float) -> Verdict:
    low, high = interval
    if low <= 0 <= high or abs(change) <= least:
        return "no difference found"
    way = better(metric)
    if way is None:
        return "different"
    return "better" if (way == "higher") == (change > 0) else "worse"


def better(metric: str) -> Literal["higher", "lower"] | None:
    """Which way is better, of a run's metrics and of its nodes'."""
    return _BETTER_OF_NODES.get(metric.partition(".")[0] + ".") or BETTER.get(metric)


# --- resampling -------------------------------------------------------------------------------------------------------

_Statistic = Callable[[Mapping[str, Values], Values], Values]
"""Of the columns of a run whenever its prompts are drawn again.

Each row of the second argument says how often each prompt was drawn. NaN for rows without any value.
"""


def _mean(column: str) -> _Statistic:
    def mean(columns: Mapping[str, Values], drawn: Values) -> Values:
        values = columns[column]
        known = ~np.isnan(values)
        return _quotient(drawn[:, known] @ values[known], drawn[:, known].sum(axis=1))

    return mean


def _ratio(part: str, whole: str) -> _Statistic:
    return lambda columns, drawn: _quotient(drawn @ columns[part], drawn @ columns[whole])


def _percentile(column: str, share: float) -> _Statistic:
    """By nearest rank, as :func:`testbed.results.metrics.percentile`."""

    def percentile(columns: Mapping[str, Values], drawn: Values) -> Values:
        values = columns[column]
        order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]  # NaN come last
        weights = drawn[:, order]
        if not order.size:
            return np.full(len(drawn), math.nan)
        ranks = np.ceil(share * weights.sum(axis=1))
        found = values[order][(weights.cumsum(axis=1) < ranks[:, None]).sum(axis=1)]
        return np.where(ranks > 0, found, math.nan)

    return percentile


def _quotient(part: Values, whole: Values) -> Values:
    quotient: Values = np.divide(part, whole, out=np.full(len(whole), math.nan), where=whole > 0)
    return quotient


_OF_PROMPTS: Final[Mapping[str, _Statistic]] = {
    "accuracy": _mean("correct"),
    "completed": _mean("answered"),
    "latency.mean": _mean("latency"),
    "latency.p50": _percentile("latency", 0.50),
    "latency.p95": _percentile("latency", 0.95),
    "latency.p99": _percentile("latency", 0.99),
}
"""The metrics that follow from single prompts."""


def _of_nodes(columns: Iterable[str]) -> dict[str, _Statistic]:
    """The metrics of nodes, which follow from single prompts as well."""
    inference = {name: _mean(name) for name in columns if name.startswith(INFERENCE)}
    nodes = [name.removeprefix(CPU) for name in columns if name.startswith(CPU)]
    return inference | {f"{SPEED}{node}": _ratio(f"{CPU}{node}", f"{BUSY}{node}") for node in nodes}


@dataclass(frozen=True)
class _Side:
    """The runs of one side: each metric's value, and what it came to whenever prompts or runs were drawn again."""

    values: Mapping[str, float | None]
    by_prompts: Mapping[str, Values]
    by_runs: Mapping[str, Values]
    prompts: int
    runs: int

    @classmethod
    def of(cls, runs: Sequence[RecordedRun], draws: int) -> "_Side":
        """Draw again and again; sides with the same ``draws`` draw the same runs, and the same prompts of them."""
        shared = [name for name in runs[0].columns if all(name in run.columns for run in runs)]
        of_prompts = {**_OF_PROMPTS, **_of_nodes(shared)}
        metrics = [*METRICS, *(name for name in of_prompts if name not in METRICS)]
        each = {metric: [_value(run, metric, of_prompts) for run in runs] for metric in metrics}
        known = {metric: np.array(values) for metric, values in each.items() if None not in values}
        drawn = np.random.default_rng((draws, len(runs))).integers(len(runs), size=(_RESAMPLES, len(runs)))
        pools = [_pool(run, of_prompts, np.random.default_rng((draws, number))) for number, run in enumerate(runs)]
        return cls(
            values={metric: float(known[metric].mean()) if metric in known else None for metric in metrics},
            by_prompts={name: np.mean([pool[name] for pool in pools], axis=0) for name in of_prompts if name in known},
            by_runs={metric: values[drawn].mean(axis=1) for metric, values in known.items()},
            prompts=sum(len(run.prompts) for run in runs),
            runs=len(runs),
        )

    def observations(self, metric: str) -> int:
        """How many are drawn from; none if some run lacks the metric."""
        if metric in self.by_prompts:
            return self.prompts
        return self.runs if metric in self.by_runs else 0


def _value(run: RecordedRun, metric: str, of_prompts: Mapping[str, _Statistic]) -> float | None:
    if metric not in of_prompts:
        return run.totals.get(metric)
    value = float(of_prompts[metric](_arrays(run), np.ones((1, len(run.prompts))))[0])
    return None if math.isnan(value) else value


def _pool(run: RecordedRun, of_prompts: Mapping[str, _Statistic], generator: np.random.Generator) -> dict[str, Values]:
    """What the metrics of one run come to whenever its prompts are drawn again."""
    columns = _arrays(run)
    pool = {metric: np.full(_RESAMPLES, math.nan) for metric in of_prompts}
    rows = max(1, _BLOCK // max(1, len(run.prompts)))
    for begin in range(0, _RESAMPLES, rows):
        drawn = _draw(min(rows, _RESAMPLES - begin), len(run.prompts), generator)
        for metric, statistic in of_prompts.items():
            pool[metric][begin : begin + rows] = statistic(columns, drawn)
    return pool


def _arrays(run: RecordedRun) -> dict[str, Values]:
    return {name: np.array(values) for name, values in run.columns.items()}


def _draw(rows: int, count: int, generator: np.random.Generator) -> Values:
    """In each row how often each of ``count`` things came when as many were drawn with replacement."""
    drawn = generator.integers(max(1, count), size=(rows, count)) + count * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def _interval(metric: str, before: _Side, after: _Side, alarm: float) -> tuple[float, float]:
    """The interval that the metric's change leaves with probability ``alarm``."""
    base, new = before.values[metric], after.values[metric]
    assert base is not None and new is not None  # it was observed
    change, wider = new - base, _widening(before, after, metric, 1 - alarm / 2)
    by_runs = after.by_runs[metric] - before.by_runs[metric]
    drawn = by_runs
    if metric in before.by_prompts:
        drawn = after.by_prompts[metric] - before.by_prompts[metric]
        wider *= max(1.0, _times(_unbiased_deviation(by_runs, min(before.runs, after.runs)), float(np.nanstd(drawn))))
    low, high = np.nanquantile(drawn, (alarm / 2, 1 - alarm / 2))
    return float(change - wider * (change - low)), float(change + wider * (high - change))


def _widening(before: _Side, after: _Side, metric: str, probability: float) -> float:
    """By how much an interval from few observations must be wider than they make it look (Hesterberg 2015)."""
    observations = min(before.observations(metric), after.observations(metric))
    few = math.sqrt(observations / (observations - 1))
    return few * t_quantile(probability, observations - 1) / NormalDist().inv_cdf(probability)


def _unbiased_deviation(replicates: Values, runs: int) -> float:
    """The standard deviation of means over runs; that of what was drawn again is too small by (runs - 1) / runs."""
    return float(replicates.std()) * math.sqrt(runs / (runs - 1)) if runs > 1 else 0.0


def _times(one: float, other: float) -> float:
    """How many times the other goes into the one; none if both are nothing."""
    return one / other if other else 0.0
