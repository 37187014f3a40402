"""What must hold for a run to pass: a bound on a metric."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from testbed.units import DURATION, SIZE

METRICS: Final = {
    "accuracy": "",
    "completed": "",
    "prompts": "",
    "inferences": "",
    "latency.mean": "s",
    "latency.p50": "s",
    "latency.p95": "s",
    "latency.p99": "s",
    "queue.mean": "",
    "queue.max": "",
    "tokens_per_second": "",
    "bytes_on_links": "B",
    "memory.peak": "B",
    "retries": "",
    "duplicates": "",
    "late": "",
    "rejected": "",
    "dropped": "",
}
"""Every metric of a run by name, and the unit that its value is held in."""

BETTER: Final[Mapping[str, Literal["higher", "lower"]]] = {
    "accuracy": "higher",
    "completed": "higher",
    "latency.mean": "lower",
    "latency.p50": "lower",
    "latency.p95": "lower",
    "latency.p99": "lower",
    "queue.mean": "lower",
    "queue.max": "lower",
    "tokens_per_second": "higher",
    "bytes_on_links": "lower",
    "memory.peak": "lower",
}
"""Which way is better, of the metrics that have one."""

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_BOUND = re.compile(r"\s*(<=|>=|==|<|>)\s*(\S.*?)\s*")


@dataclass(frozen=True)
class Expectation:
    """``metric`` compared with ``bound`` (in the metric's own unit) by ``comparison``."""

    metric: str
    comparison: str
    bound: float
    written: str

    @classmethod
    def parse(cls, metric: str, written: str) -> "Expectation":
        """From an entry of the scenario like ``latency.p95: "< 15s"``; raises ValueError with what would be right."""
        if metric not in METRICS:
            raise ValueError(f"there is no metric {metric!r}; known are {', '.join(METRICS)}")
        match = _BOUND.fullmatch(written)
        if match is None:
            raise ValueError(
                f'{written!r} must be a comparison and a bound, like "< 3" (one of {" ".join(_OPERATORS)})'
            )
        return cls(metric, match[1], _bound(metric, match[2]), written)

    def holds(self, value: float | None) -> bool:
        """Whether ``value`` keeps the bound. A metric that could not be computed keeps none."""
        return value is not None and _OPERATORS[self.comparison](value, self.bound)


def _bound(metric: str, text: str) -> float:
    quantity = {"s": DURATION, "B": SIZE}.get(METRICS[metric])
    if quantity is not None:
        return replace(quantity, positive=False).parse(text)  # what is measured may well be nothing
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise ValueError(f"{text!r} is not a number; {metric} has no unit")
    return bound
