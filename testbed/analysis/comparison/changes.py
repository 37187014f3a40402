"""Two sets of runs side by side: metric by metric better, worse, or no difference found.

The change of a metric is its mean over the new runs less its mean over the base runs. The bootstrap tells how far
chance alone could move it (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13):
observations are drawn again with replacement, thousands of times, and the resulting changes are ranked.

- Of metrics that follow from single prompts, the prompts of each run are drawn again. Several runs are drawn again,
  too; if runs differ by more than their prompts explain, the interval is wider by that factor.
- Of all other metrics, such as queue lengths, runs are drawn again if there are at least five a side.

Runs of the same seed had the same prompts. Such sides are paired: one draw serves both, so the differences between
prompts cancel, and much smaller changes show. Runs of one host are paired with each other where that is possible; where
it is not, the differences between the hosts count as changes, and the comparison says so.

Three things keep chance and small differences between hosts from raising alarms. All intervals of a comparison hold
together with probability ``1 - ALARM`` (Bonferroni). They are wider by the ratio of Student's t to the normal
distribution, because a few observations vary less than their population does (Hesterberg, The American Statistician 69,
2015). And a change must exceed a margin. If the host distorted some of the runs, times are compared only with at least
five runs a side.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from testbed.analysis.comparison.bootstrap import SPEED, Resampled, interval
from testbed.analysis.comparison.settings import Difference, differences
from testbed.analysis.recorded import INFERENCE, RecordedRun, telling
from testbed.core.errors import SpecError
from testbed.core.units import readable
from testbed.schema.metric import Traits

ALARM: Final = 0.01
"""The probability that a comparison of equal runs finds a difference."""

MARGIN: Final = 0.05
"""The default share of the base's value by which a metric must change to count."""

_OF_NODES: Final[Mapping[str, Traits]] = {
    INFERENCE: Traits(unit="s", better="lower"),
    SPEED: Traits(better="higher"),
}
"""The traits of what is compared of each node, by the beginning of its name."""

_FEWEST: Final = 5  # observations for which the bootstrap is used

Verdict = Literal["better", "worse", "different", "no difference found", "not tested"]
"""``different``: the metric changed, and neither direction is better. ``not tested``: too few observations."""


@dataclass(frozen=True)
class Change:
    """The change of one metric. The interval is that of ``new - base``, None if there were too few observations."""

    metric: str
    base: float | None
    new: float | None
    interval: tuple[float, float] | None
    verdict: Verdict
    traits: Traits
    untested: str = ""
    """Why it was not tested; empty if it was."""

    @property
    def relative(self) -> tuple[float, float] | None:
        """The interval in shares of the base's value; None if that is 0."""
        if self.interval is None or not self.base:
            return None
        low, high = self.interval
        return low / abs(self.base), high / abs(self.base)

    @property
    def extent(self) -> str:
        """The interval of the change, or the change alone if it has none: of shares in points, else in percent."""
        if self.base is None or self.new is None or not (self.base or self._is_share):
            return "–"
        ends = (self.new - self.base,) if self.interval is None else self.interval
        per, unit = (0.01, "points") if self._is_share else (abs(self.base) / 100, "%")
        return f"{' to '.join(f'{end / per:+.3g}' for end in ends)} {unit}"

    @property
    def _is_share(self) -> bool:
        return self.traits.unit == "%"

    @property
    def judged(self) -> str:
        """The verdict, with the reason if it was not tested."""
        return f"{self.verdict}: {self.untested}" if self.untested else self.verdict

    def __str__(self) -> str:
        was, now = (readable(value, self.traits.unit) for value in (self.base or 0.0, self.new or 0.0))
        return f"{self.metric}: {self.verdict}, was {was} in the baseline, is {now} ({self.extent})"


@dataclass(frozen=True)
class Comparison:
    """The changes of all metrics between two sets of runs, and what their scenarios say differently."""

    scenario: str
    base: Sequence[RecordedRun]
    new: Sequence[RecordedRun]
    paired: bool
    margin: float
    changes: Sequence[Change]

    @property
    def differences(self) -> list[Difference]:
        """What the scenarios of the two sides say differently, besides the seed and what is expected."""
        return differences(*([run.written for run in side] for side in (self.base, self.new)))

    @property
    def regressions(self) -> list[Change]:
        """The metrics that are worse."""
        return [change for change in self.changes if change.verdict == "worse"]

    @property
    def found(self) -> str:
        """How many metrics are worse, better and different, in words."""
        verdicts = [change.verdict for change in self.changes]
        if set(verdicts) == {"not tested"}:
            return "nothing could be tested"
        counts = [(verdicts.count(verdict), verdict) for verdict in ("worse", "better", "different")]
        return ", ".join(f"{count} {verdict}" for count, verdict in counts if count) or "no difference found"

    @property
    def pairing(self) -> str:
        """What the sides were paired by, in words."""
        if not self.paired:
            return "not paired: the seeds or the prompts differ"
        return "paired by seed" if self.apart else "paired by seed and host"

    @property
    def apart(self) -> str:
        """Whose hosts differ between the sides, as a sentence; empty if no host does."""
        if not self.paired:
            hosts = [sorted({run.host for run in side}) for side in (self.base, self.new)]
            same = hosts[0] == hosts[1]
            return "" if same else f"the hosts differ, base: {', '.join(hosts[0])}; new: {', '.join(hosts[1])}"
        pairs = [(old, new) for old, new in zip(self.base, self.new, strict=True) if old.host != new.host]
        return "; ".join(f"seed {old.seed} was played on {old.host} and on {new.host}" for old, new in pairs)

    @property
    def resampled(self) -> str:
        """What was drawn again, in words."""
        return "prompts" if max(len(self.base), len(self.new)) == 1 else "runs, and prompts within them"

    def as_dict(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "base": [str(run.path) for run in self.base],
            "new": [str(run.path) for run in self.new],
            "paired": self.paired,
            "apart": self.apart,
            "differences": {found.key: {"base": found.base, "new": found.new} for found in self.differences},
            "resampled": self.resampled,
            "margin": self.margin,
            "alarm": ALARM,
            "metrics": {
                change.metric: {
                    "base": change.base,
                    "new": change.new,
                    "interval": change.interval,
                    "verdict": change.verdict,
                    "untested": change.untested or None,
                }
                for change in self.changes
            },
        }


def compare_scenarios(
    base: Sequence[RecordedRun], new: Sequence[RecordedRun], margin: float = MARGIN
) -> list[Comparison]:
    """Compare runs scenario by scenario; raises SpecError if there is nothing to compare.

    Runs that were invalid or interrupted are left out, and so are scenarios that only one side has, unless each side
    has one scenario: these are compared, whatever their names.
    """
    before, after = _by_scenario(base), _by_scenario(new)
    if len(before) == len(after) == 1:
        (old,), (played,) = before.values(), after.values()
        return [compare(old, played, margin)]
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
    traits = {name: of_run for run in (*base, *new) for name, of_run in run.traits.items()}
    before, after = Resampled.of(base, draws=0), Resampled.of(new, draws=0 if pairs else 1)
    metrics = [metric for metric in before.values if metric in after.values]
    observed = {metric: min(side.observations.get(metric, 0) for side in (before, after)) for metric in metrics}
    untested = {metric: _why_untested(observed[metric], base, new, _traits(metric, traits)) for metric in metrics}
    testable = [metric for metric, reason in untested.items() if not reason]
    intervals = {metric: interval(metric, before, after, ALARM / len(testable)) for metric in testable}
    changes = [
        _change(metric, before, after, intervals.get(metric) or untested[metric], margin, _traits(metric, traits))
        for metric in metrics
    ]
    names = dict.fromkeys((base[0].scenario, new[0].scenario))
    return Comparison(" → ".join(names), base, new, bool(pairs), margin, changes)


def _why_untested(observed: int, base: Sequence[RecordedRun], new: Sequence[RecordedRun], traits: Traits) -> str:
    """Why a metric cannot be tested; empty if it can. Times of distorted runs differ, so it takes several a side."""
    if observed < _FEWEST:
        return f"{observed} of {_FEWEST} observations"
    distorted = any(run.fidelity == "distorted" for run in (*base, *new))
    if distorted and not traits.counted and min(len(base), len(new)) < _FEWEST:
        return f"distorted, fewer than {_FEWEST} runs"
    return ""


def _pairs(base: Sequence[RecordedRun], new: Sequence[RecordedRun]) -> list[tuple[RecordedRun, RecordedRun]]:
    """Runs with the same seed and prompts, paired; empty unless every run of the smaller side has a partner.

    A run has a partner from the same host if there is one.
    """
    pairs = _matched(base, new, lambda run: (run.seed, run.prompts, run.host))
    old, played = [{id(run) for run in side} for side in zip(*pairs, strict=True)] if pairs else (set(), set())
    others = ([run for run in base if id(run) not in old], [run for run in new if id(run) not in played])
    pairs += _matched(*others, lambda run: (run.seed, run.prompts))
    return pairs if len(pairs) == min(len(base), len(new)) else []


def _matched(
    base: Sequence[RecordedRun], new: Sequence[RecordedRun], key: Callable[[RecordedRun], object]
) -> list[tuple[RecordedRun, RecordedRun]]:
    """Runs of both sides with equal keys, each run in one pair at most."""
    waiting: defaultdict[object, list[RecordedRun]] = defaultdict(list)
    for run in base:
        waiting[key(run)].append(run)
    return [(waiting[key(run)].pop(0), run) for run in new if waiting[key(run)]]


def _change(
    metric: str, before: Resampled, after: Resampled, found: tuple[float, float] | str, margin: float, traits: Traits
) -> Change:
    """The change of a metric, given its interval or the reason why there is none."""
    base, new = before.values[metric], after.values[metric]
    if base is None or new is None:
        return Change(metric, base, new, None, "not tested", traits, "a side has no value")
    if isinstance(found, str):
        return Change(metric, base, new, None, "not tested", traits, found)
    least = 0.0 if traits.counted else margin * abs(base)
    return Change(metric, base, new, found, _verdict(traits, new - base, found, least), traits)


def _verdict(traits: Traits, change: float, interval: tuple[float, float], least: float) -> Verdict:
    low, high = interval
    if low <= 0 <= high or abs(change) <= least:
        return "no difference found"
    if traits.better is None:
        return "different"
    return "better" if (traits.better == "higher") == (change > 0) else "worse"


def _traits(metric: str, recorded: Mapping[str, Traits]) -> Traits:
    """What is known of a metric of the runs, or of one of their nodes."""
    return _OF_NODES.get(metric.partition(".")[0] + ".") or recorded.get(metric, Traits())
