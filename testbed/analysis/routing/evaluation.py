"""What a router is worth on prompts that it was not fitted on, beside prompt length, chance and the oracle."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Final

from testbed.analysis.comparison.tradeoff import Routed
from testbed.analysis.routing.examples import Example
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
        """For JSON."""
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
