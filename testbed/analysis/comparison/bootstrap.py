"""The bootstrap: runs and prompts are drawn again, to learn how far chance alone moves a metric.

:mod:`testbed.analysis.comparison.changes` explains the method and names its sources.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from testbed.analysis.distributions import t_quantile
from testbed.analysis.recorded import BUSY, CPU, INFERENCE, RecordedRun
from testbed.schema.metric import OverPrompts

SPEED: Final = "speed."
"""``speed.a`` is the share of a core that node a got while it had work.

That is its CPU time, divided by the sum of its CPU time and the time that it waited behind its CPU quota. Waiting for a
core that others use does not count, so nodes look faster by this measure on a busy host.
"""

_RESAMPLES: Final = 10_000
_BLOCK: Final = 1_000_000  # values drawn at once, which bounds the memory

Values = npt.NDArray[np.float64]


class Statistic(Protocol):
    """A metric that follows from one value of each prompt."""

    @property
    def column(self) -> str:
        """The name of the values, which are NaN for prompts without one."""

    def __call__(self, columns: Mapping[str, Values], drawn: Values) -> Values:
        """The metric for each row of ``drawn``, which counts how often each prompt was drawn; NaN of no values."""


@dataclass(frozen=True)
class Mean:
    """The mean over the prompts that have a value."""

    column: str

    def __call__(self, columns: Mapping[str, Values], drawn: Values) -> Values:
        values = columns[self.column]
        known = ~np.isnan(values)
        return _quotient(drawn[:, known] @ values[known], drawn[:, known].sum(axis=1))


@dataclass(frozen=True)
class Ratio:
    """The sum of one column divided by that of another."""

    part: str
    column: str

    def __call__(self, columns: Mapping[str, Values], drawn: Values) -> Values:
        return _quotient(drawn @ columns[self.part], drawn @ columns[self.column])


@dataclass(frozen=True)
class Percentile:
    """The percentile by nearest rank, as :func:`testbed.analysis.distributions.percentile` has it."""

    column: str
    share: float

    def __call__(self, columns: Mapping[str, Values], drawn: Values) -> Values:
        values = columns[self.column]
        order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]  # NaN come last
        if not order.size:
            return np.full(len(drawn), math.nan)
        weights = drawn[:, order]
        ranks = np.ceil(self.share * weights.sum(axis=1))
        below = (weights.cumsum(axis=1) < ranks[:, None]).sum(axis=1)
        return np.where(ranks > 0, values[order][below], math.nan)


def _quotient(part: Values, whole: Values) -> Values:
    quotient: Values = np.divide(part, whole, out=np.full(len(whole), math.nan), where=whole > 0)
    return quotient


def _statistic(over: OverPrompts) -> Statistic:
    return Mean(over.column) if over.share is None else Percentile(over.column, over.share)


def _of_nodes(columns: Iterable[str]) -> dict[str, Statistic]:
    inference = {name: Mean(name) for name in columns if name.startswith(INFERENCE)}
    nodes = [name.removeprefix(CPU) for name in columns if name.startswith(CPU)]
    return {**inference, **{f"{SPEED}{node}": Ratio(f"{CPU}{node}", f"{BUSY}{node}") for node in nodes}}


@dataclass(frozen=True)
class Resampled:
    """The metrics of the runs of one side: their values, and their values over all draws of prompts and of runs."""

    values: Mapping[str, float | None]
    by_prompts: Mapping[str, Values]
    by_runs: Mapping[str, Values]
    observations: Mapping[str, int]
    """The number of values that each metric was drawn from."""
    runs: int

    @classmethod
    def of(cls, runs: Sequence[RecordedRun], draws: int) -> "Resampled":
        """Draw runs and prompts. Sides with the same seed ``draws`` draw the same runs and prompts."""
        shared = [name for name in runs[0].columns if all(name in run.columns for run in runs)]
        traits = {name: of_run for run in runs for name, of_run in run.traits.items()}
        by_metric = {name: _statistic(found.over_prompts) for name, found in traits.items() if found.over_prompts}
        of_prompts = {**by_metric, **_of_nodes(shared)}
        metrics = list(dict.fromkeys([*traits, *of_prompts]))
        each = {metric: [_value(run, metric, of_prompts) for run in runs] for metric in metrics}
        known = {metric: np.array(values) for metric, values in each.items() if None not in values}
        drawn = np.random.default_rng((draws, len(runs))).integers(len(runs), size=(_RESAMPLES, len(runs)))
        pools = [_pool(run, of_prompts, np.random.default_rng((draws, number))) for number, run in enumerate(runs)]
        return cls(
            values={metric: float(known[metric].mean()) if metric in known else None for metric in metrics},
            by_prompts={name: np.mean([pool[name] for pool in pools], axis=0) for name in of_prompts if name in known},
            by_runs={metric: values[drawn].mean(axis=1) for metric, values in known.items()},
            observations={metric: _observations(runs, of_prompts.get(metric)) for metric in known},
            runs=len(runs),
        )


def _observations(runs: Sequence[RecordedRun], statistic: Statistic | None) -> int:
    """The number of prompts that have a value, for a statistic of prompts; else the number of runs."""
    if statistic is None:
        return len(runs)
    return sum(not math.isnan(value) for run in runs for value in run.columns[statistic.column])


def _value(run: RecordedRun, metric: str, of_prompts: Mapping[str, Statistic]) -> float | None:
    if metric not in of_prompts:
        return run.totals.get(metric)
    value = float(of_prompts[metric](_arrays(run), np.ones((1, len(run.prompts))))[0])
    return None if math.isnan(value) else value


def _pool(run: RecordedRun, of_prompts: Mapping[str, Statistic], generator: np.random.Generator) -> dict[str, Values]:
    """The metrics of one run over all draws of its prompts."""
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
    """``count`` draws with replacement from ``count`` things in each row: how often each thing was drawn."""
    drawn = generator.integers(max(1, count), size=(rows, count)) + count * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def interval(metric: str, before: Resampled, after: Resampled, alarm: float) -> tuple[float, float]:
    """The interval outside of which the metric's change lies with probability ``alarm`` by chance alone."""
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


def _widening(before: Resampled, after: Resampled, metric: str, probability: float) -> float:
    """The factor by which an interval from few observations is too narrow (Hesterberg 2015)."""
    observations = min(before.observations[metric], after.observations[metric])
    few = math.sqrt(observations / (observations - 1))
    return few * t_quantile(probability, observations - 1) / NormalDist().inv_cdf(probability)


def _unbiased_deviation(replicates: Values, runs: int) -> float:
    """The standard deviation of means over runs. The variance of the draws is too small by (runs - 1) / runs."""
    return float(replicates.std()) * math.sqrt(runs / (runs - 1)) if runs > 1 else 0.0


def _times(one: float, other: float) -> float:
    """``one`` divided by ``other``; 0 if ``other`` is 0."""
    return one / other if other else 0.0
