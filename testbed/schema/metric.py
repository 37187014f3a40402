"""Metrics: what can be expected of a run, compared between runs and shown. docs/results.md defines the built-in ones.

A metric is a function over a part of a run, registered under its name::

    # pyproject.toml
    [project.entry-points."testbed.metrics"]
    "energy.mean" = "my_package.energy:mean"

    # my_package/energy.py
    @metric(unit="J", better="lower", of_window=False)
    def mean(part: Part) -> float | None:
        ...

``part`` is a :class:`testbed.analysis.measurements.Part`. The function returns None where there is nothing to compute
from. One that raises, or returns NaN or an infinity, counts as None, and the summary of the run says why.

For an experiment no package is needed: an expectation can name a metric of one file, like ``./energy.py:mean: "< 3"``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final, Literal

from testbed.core.registry import KindError, Registry

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class OverPrompts:
    """A metric that follows from one number of each prompt: its mean, or its percentile ``share``, from 0 to 1.

    Comparisons draw the prompts again to learn how far chance alone moves such a metric.
    """

    column: Literal["score", "answered", "latency"]
    share: float | None = None


@dataclass(frozen=True)
class Traits:
    """What a run records of a metric, so that nobody who reads the run needs the metric's code.

    ``unit`` is that of the value. ``s``, ``B`` and ``%`` are scaled for people, the last from a share from 0 to 1; any
    other unit is printed as it is. ``better`` is the direction of improvement, None if there is none. ``counted``
    metrics do not depend on how fast the host is, so comparisons need no margin for them.
    """

    unit: str = ""
    better: Better | None = None
    counted: bool = False
    over_prompts: OverPrompts | None = None

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> "Traits":
        """From what :meth:`as_dict` gave."""
        over = recorded["over_prompts"]
        return cls(**{**recorded, "over_prompts": None if over is None else OverPrompts(**over)})

    def as_dict(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Metric:
    """A metric: its function, its traits, and whether it can be asked of a window of play and of a single node.

    Tables show metrics by ascending ``rank``, then by name.
    """

    measure: Callable[[Any], float | None]
    traits: Traits = Traits()
    of_window: bool = True
    of_node: bool = True
    rank: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "__doc__", self.measure.__doc__)

    def __call__(self, part: Any) -> tuple[float | None, str | None]:
        """The value for a part of a run, and why there is none if the function failed."""
        try:
            value = self.measure(part)
            number = value if value is None or isinstance(value, int) else float(value)
        except Exception as error:  # whatever the code of another package raises
            return None, f"{type(error).__name__}: {error}"
        if number is not None and not math.isfinite(number):
            return None, f"the value is {number}"
        return number, None


def metric(
    unit: str = "",
    better: Better | None = None,
    *,
    counted: bool = False,
    over_prompts: OverPrompts | None = None,
    of_window: bool = True,
    of_node: bool = True,
    rank: int = 1000,
) -> Callable[[Callable[[Any], float | None]], Metric]:
    """Make a metric of the function below; :class:`Traits` and :class:`Metric` say what the arguments mean."""
    traits = Traits(unit, better, counted, over_prompts)
    return lambda measure: Metric(measure, traits, of_window, of_node, rank)


EXPECTATION_KEYS: Final = ("during", "after", "within", "from", "begin", "to", "end", "node", "nodes")
"""The keys of an expectation that are no metric, and the fields that hold them."""

METRICS: Final = Registry[Metric]("testbed.metrics", "metric", Metric, reserved=EXPECTATION_KEYS)


def unit_of(name: str) -> str:
    """The unit of the metric called ``name``; raises KindError if there is no such metric."""
    return METRICS.get(name).traits.unit


@cache
def metrics() -> tuple[Mapping[str, Metric], Mapping[str, str]]:
    """The metrics of all installed packages in the order of tables, and why others cannot be loaded, by name."""
    found: dict[str, Metric] = {}
    broken: dict[str, str] = {}
    for name in METRICS.names():
        try:
            found[name] = METRICS.get(name)
        except KindError as error:
            broken[name] = str(error)
    return dict(sorted(found.items(), key=lambda item: (item[1].rank, item[0]))), broken
