"""The accuracy of groups of answers: by the subject of the question, and by each scorer."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from testbed.analysis.distributions import wilson_interval
from testbed.analysis.measurements import Measurements


@dataclass(frozen=True)
class GroupAccuracy:
    """The mean score of ``judged`` answers, from 0 to 1, with its 95 % interval."""

    mean: float
    judged: int
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, scores: Sequence[float]) -> "GroupAccuracy":
        """Of ``scores``, of which there must be some."""
        return cls(fmean(scores), len(scores), wilson_interval(sum(scores), len(scores)))

    def as_dict(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return asdict(self)


def accuracy_by_label(measured: Measurements) -> dict[str, GroupAccuracy]:
    """By the label of the question, of questions that have one, by the scorer that counts."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for prompt, score in measured.scores.items():
        if label := measured.prompts[prompt].get("label"):
            found[label].append(score)
    return _accuracies(found)


def accuracy_by_scorer(measured: Measurements) -> dict[str, GroupAccuracy]:
    """By the name of the scorer, of those that do not count, too."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for event in measured.of("score"):
        if event["value"] is not None and event["prompt"] in measured.answers:
            found[event["scorer"]].append(event["value"])
    return _accuracies(found)


def _accuracies(found: Mapping[str, list[float]]) -> dict[str, GroupAccuracy]:
    return {name: GroupAccuracy.of(scores) for name, scores in sorted(found.items())}
