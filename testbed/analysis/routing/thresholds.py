"""Thresholds of a cascade from a calibration run: the most right answers within a budget (FrugalGPT: 2305.05176)."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, Final, Literal

from testbed.analysis.recorded import run_directories
from testbed.analysis.routing.examples import StageAnswer, stage_answers
from testbed.core.errors import SpecError
from testbed.patterns.signals import Signal, signal_of

Limited = Literal["cost", "offload"]
"""What the budget is of: the mean price of a prompt, or the share of prompts that the last stage answers."""

_CANDIDATES: Final = 12  # of a stage's thresholds: quantiles of its signal, the least and the largest included

Ladder = Sequence[StageAnswer]
"""The answers of all stages to a prompt, the weakest first."""


@dataclass(frozen=True)
class Thresholds:
    """A threshold for each stage but the last, and what a cascade with them came to on the calibration prompts.

    ``cost`` is the mean price of a prompt, ``offload`` the share of prompts that the last stage answered.
    """

    above: tuple[float, ...]
    accuracy: float
    cost: float
    offload: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ladders(runs: Iterable[Path]) -> list[Ladder]:
    """The prompts of runs that all stages answered; raises SpecError where there are none, or of unlike patterns."""
    found = [
        ladder for given in runs for directory in run_directories(given) for ladder in stage_answers(directory).values()
    ]
    most = max(map(len, found), default=0)
    whole = [ladder for ladder in found if len(ladder) == most]
    if most < 2:
        raise SpecError.of("router thresholds", "no prompt has answers of several stages; run with pattern.policy=all")
    return whole


def best_thresholds(known: Sequence[Ladder], signal: Signal, limited: Limited, most: float) -> Thresholds | None:
    """The thresholds with the most right answers of which ``limited`` is at most ``most``; of equals, the cheapest.

    None if no thresholds keep the budget. Raises JobError where an answer does not have the signal. Candidates are
    quantiles, so the best of all thresholds may lie between them.
    """
    signals = [[signal_of(answer.completion, signal) for answer in ladder[:-1]] for ladder in known]
    candidates = [_quantiles([row[stage] for row in signals]) for stage in range(len(known[0]) - 1)]
    tried = (_played(known, signals, above) for above in product(*candidates))
    kept = [one for one in tried if (one.cost if limited == "cost" else one.offload) <= most]
    return max(kept, key=lambda one: (one.accuracy, -one.cost, -one.offload), default=None)


def _played(known: Sequence[Ladder], signals: Sequence[Sequence[float]], above: tuple[float, ...]) -> Thresholds:
    """The cascade with the thresholds ``above`` on the calibration prompts."""
    ends = [_end(row, above) for row in signals]
    costs = [sum(answer.cost or 0.0 for answer in ladder[: end + 1]) for ladder, end in zip(known, ends, strict=True)]
    return Thresholds(
        above,
        accuracy=fmean(ladder[end].score for ladder, end in zip(known, ends, strict=True)),
        cost=fmean(costs),
        offload=fmean(end == len(above) for end in ends),
    )


def _end(signals: Sequence[float], above: Sequence[float]) -> int:
    """The number of the stage whose answer counts."""
    accepted = (stage for stage, (value, least) in enumerate(zip(signals, above, strict=True)) if value >= least)
    return next(accepted, len(above))


def _quantiles(values: Sequence[float]) -> list[float]:
    ascending = sorted(values)
    steps = range(_CANDIDATES)
    return sorted({ascending[round(step * (len(ascending) - 1) / (_CANDIDATES - 1))] for step in steps})
