"""What a router is worth on prompts that it was not fitted on, beside prompt length, chance and the oracle."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Final

from testbed.analysis.comparison.tradeoff import Routed
from testbed.analysis.routing.examples import Example, LoggedChoice
from testbed.patterns.vertical.routers.router import Router, fingerprint

SHARES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
"""The shares of strong calls at which a router is judged."""


@dataclass(frozen=True)
class Measures:
    """RouteLLM's measures of one way to score prompts; None where both stages are equally good."""

    name: str
    apgr: float | None
    cpt50: float | None
    cpt80: float | None

    @classmethod
    def of(cls, name: str, scores: Sequence[float], known: Sequence[Example]) -> "Measures":
        """Of prompts that go to the strong stage in the order of their ``scores``, the highest first."""
        routed = Routed.by_score(scores, [one.weak for one in known], [one.strong for one in known])
        if routed.points[0].quality == routed.points[-1].quality:
            return cls(name, None, None, None)
        return cls(name, routed.apgr, routed.cpt(0.5), routed.cpt(0.8))


@dataclass(frozen=True)
class Operation:
    """A router at one threshold: the ``share`` asked for, and the share of strong calls and the accuracy it led to."""

    share: float
    threshold: float
    strong_share: float
    accuracy: float


@dataclass(frozen=True)
class RouterEvaluation:
    """A router on held-out ``prompts``. ``weak``, ``strong`` and ``either`` are shares of right answers."""

    prompts: int
    weak: float
    strong: float
    either: float
    measures: Sequence[Measures]
    operations: Sequence[Operation]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def held_out(router: Router, known: Sequence[Example]) -> list[Example]:
    """The examples that the router was not fitted on."""
    seen = set(router.fitted_on)
    return [example for example in known if fingerprint(example.text) not in seen]


def evaluate(router: Router, known: Sequence[Example]) -> RouterEvaluation:
    """Judge ``router`` on ``known``, of which there must be some; raises JobError if answers lack what it reads."""
    scores = [router.score(example.text, example.answer) for example in known]
    ways = {
        "router": scores,
        "length": [float(len(example.text)) for example in known],
        "oracle": [example.strong - example.weak for example in known],
    }
    return RouterEvaluation(
        len(known),
        weak=fmean(example.weak for example in known),
        strong=fmean(example.strong for example in known),
        either=fmean(max(example.weak, example.strong) for example in known),
        measures=[Measures.of(name, values, known) for name, values in ways.items()],
        operations=[_operation(router, share, scores, known) for share in SHARES],
    )


def _operation(router: Router, share: float, scores: Sequence[float], known: Sequence[Example]) -> Operation:
    threshold = router.threshold(share)
    chosen = [score >= threshold for score in scores]
    right = [one.strong if strong else one.weak for strong, one in zip(chosen, known, strict=True)]
    return Operation(share, threshold, fmean(chosen), fmean(right))


@dataclass(frozen=True)
class OffPolicyEstimate:
    """What a router at one threshold would have scored on the prompts of a run that another rule played.

    ``strong_share`` is the router's share of strong calls. ``accuracy`` is estimated, with its standard error, from the
    ``matching`` prompts for which both chose the same stage; None without any.
    """

    share: float
    threshold: float
    strong_share: float
    matching: int
    accuracy: float | None
    error: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_off_policy(router: Router, logged: Sequence[LoggedChoice]) -> list[OffPolicyEstimate]:
    """Estimates for a router that reads prompts alone, at several shares of strong calls."""
    scores = [router.score(choice.text) for choice in logged]
    return [_off_policy(router, share, scores, logged) for share in SHARES]


def _off_policy(
    router: Router, share: float, scores: Sequence[float], logged: Sequence[LoggedChoice]
) -> OffPolicyEstimate:
    threshold = router.threshold(share)
    chosen = [score >= threshold for score in scores]
    matching = [one for strong, one in zip(chosen, logged, strict=True) if one.strong == strong]
    accuracy, error = snips([one.score for one in matching], [one.propensity for one in matching])
    return OffPolicyEstimate(share, threshold, fmean(chosen), len(matching), accuracy, error)


def snips(rewards: Sequence[float], propensities: Sequence[float]) -> tuple[float | None, float | None]:
    """The self-normalised inverse propensity estimate of a mean reward (Swaminathan and Joachims, 2015), and its error.

    The two are of the prompts for which the logged choice is the one that the judged policy makes. The standard error
    is that of a ratio of means, by linearisation.
    """
    weights = [1 / propensity for propensity in propensities]
    if not weights:
        return None, None
    total = sum(weights)
    mean = sum(weight * reward for weight, reward in zip(weights, rewards, strict=True)) / total
    squares = sum((weight * (reward - mean)) ** 2 for weight, reward in zip(weights, rewards, strict=True))
    return mean, float(squares**0.5 / total)
