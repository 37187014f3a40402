"""The results of a sweep: the numbers of every run, and at each point their means over repetitions with intervals."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final, Literal, get_args

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from testbed.analysis.distributions import t_quantile, wilson_interval
from testbed.analysis.recorded import SUMMARY, host_of, load_manifest, whole_run
from testbed.analysis.verdict.exits import EXIT_CODES
from testbed.schema.points import Point

CONFIDENCE: Final = 0.95

UTILISATION: Final = "utilisation"
"""The highest utilisation of any node."""

UNSTABLE: Final = "unstable"
"""The number of nodes whose queues grew."""

Verdict = Literal["passed", "failed", "invalid", "impossible"]
"""``impossible``: the run could not be played."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one run. ``numbers`` has every number of its summary, by the dotted path to it."""

    seed: int
    verdict: Verdict
    reasons: Sequence[str]
    exit_code: int
    distorted: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict)
    judged: int = 0
    """The number of answers that have a score."""
    host: str = ""
    """The name of the host that played the run."""

    @classmethod
    def load(cls, directory: Path, seed: int) -> "Outcome | None":
        """Read the directory of a run; None if the run did not come to its end."""
        if not (directory / SUMMARY).exists():
            return None
        with whole_run(directory):
            host = host_of(load_manifest(directory))
            summary = json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
            return None if summary["verdict"] == "interrupted" else cls._of(summary, seed, host)

    @classmethod
    def _of(cls, summary: Mapping[str, Any], seed: int, host: str) -> "Outcome":
        verdict, nodes = summary["verdict"], summary["nodes"]
        loads = [load for node in nodes.values() if (load := node.get("queue", {}).get("utilisation")) is not None]
        numbers = {
            **dict(_numbers(summary["metrics"])),
            **({UTILISATION: max(loads)} if loads else {}),
            UNSTABLE: sum(node.get("queue", {}).get("verdict") == "unstable" for node in nodes.values()),
            **{f"nodes.{name}": value for name, value in _numbers(nodes)},
            **{f"replay.{name}": value for name, value in _numbers(summary["replay"])},
        }
        distorted = summary["fidelity"]["verdict"] == "distorted"
        exit_code, judged = EXIT_CODES[verdict], summary["judged"]
        return cls(seed, verdict, summary["reasons"], exit_code, distorted, numbers, judged, host)

    @property
    def tells(self) -> bool:
        """Whether the numbers are valid."""
        return self.verdict in ("passed", "failed")


def _numbers(content: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers in a tree, by the dotted path to each."""
    for name, within in content.items():
        if isinstance(within, dict):
            yield from ((f"{name}.{rest}", value) for rest, value in _numbers(within))
        elif isinstance(within, int | float):
            yield name, within


@dataclass(frozen=True)
class Estimate:
    """A mean over repetitions, and its interval; None if there was one run."""

    mean: float
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """From the value of each run, of which there is at least one; the interval is by Student's t."""
        mean = fmean(values)
        if len(values) < 2:
            return cls(mean, None)
        margin = t_quantile((1 + CONFIDENCE) / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
        return cls(mean, (mean - margin, mean + margin))

    @classmethod
    def of_share(cls, shares: Sequence[float], trials: Sequence[float]) -> "Estimate":
        """From shares of ``trials`` prompts each, pooled over all runs; the interval is Wilson's."""
        together = sum(trials)
        if not together:
            return cls.of(shares)
        successes = sum(share * number for share, number in zip(shares, trials, strict=True))
        return cls(successes / together, wilson_interval(round(successes), round(together), CONFIDENCE))

    @property
    def margin(self) -> float | None:
        """Half the width of the interval."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / 2


@dataclass(frozen=True)
class Visited:
    """A point of a sweep, and the outcomes of its runs so far."""

    point: Point
    outcomes: Sequence[Outcome]

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """An estimate of every number that all valid runs have."""
        telling = [outcome for outcome in self.outcomes if outcome.tells]
        told = [outcome.numbers for outcome in telling]
        shared = [name for name in (told[0] if told else ()) if all(name in numbers for numbers in told)]
        found = {name: Estimate.of([numbers[name] for numbers in told]) for name in shared}
        prompts = [numbers["prompts"] for numbers in told]
        judged = [outcome.judged for outcome in telling]
        for share, trials in (("accuracy", judged), ("completed", prompts)):
            if share in found:
                found[share] = Estimate.of_share([numbers[share] for numbers in told], trials)
        return found

    @property
    def verdicts(self) -> "Counter[Verdict]":
        """The number of runs by verdict."""
        return Counter(outcome.verdict for outcome in self.outcomes)

    def row(self) -> dict[str, Any]:
        """The row of the table: the mean of every number `x`, and its interval as `x.low` and `x.high`."""
        row: dict[str, Any] = dict(self.point.set)
        row |= {"runs": len(self.outcomes), **{verdict: self.verdicts[verdict] for verdict in get_args(Verdict)}}
        row["distorted"] = sum(outcome.distorted for outcome in self.outcomes)
        for name, estimate in self.estimates.items():
            row[name] = float(estimate.mean)
            if estimate.interval is not None:
                row[f"{name}.low"], row[f"{name}.high"] = estimate.interval
        return row | {f"published.{metric}": value for metric, value in self.point.published_values.items()}


def scattered(visited: Sequence[Visited]) -> list[str]:
    """A sentence for each seed whose runs were played on several hosts, so that its points differ by these as well."""
    hosts: defaultdict[int, set[str]] = defaultdict(set)
    for visit in visited:
        for outcome in visit.outcomes:
            hosts[outcome.seed] |= {outcome.host} - {""}
    return [
        f"seed {seed} was played on {' and '.join(sorted(found))}: its points differ by these hosts, too"
        for seed, found in sorted(hosts.items())
        if len(found) > 1
    ]


def write_table(visited: Sequence[Visited], directory: Path) -> None:
    """Write ``sweep.csv`` and ``sweep.parquet``, with a row for each point."""
    rows = [visit.row() for visit in visited]
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
    pyarrow.csv.write_csv(table, directory / "sweep.csv")
    pyarrow.parquet.write_table(table, directory / "sweep.parquet")


def _column(values: Sequence[Any]) -> Sequence[Any]:
    """The values, all of them as text if some are text."""
    if any(isinstance(value, str) for value in values):
        return [None if value is None else str(value) for value in values]
    return values
