"""The points of a sweep: values for keys of a scenario, and published results to compare with."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import product

from pydantic import Field, field_validator

from testbed.core.errors import SpecError
from testbed.core.spec import Spec
from testbed.schema.bound import read_metric
from testbed.schema.metric import METRICS
from testbed.schema.reading.document import read_value
from testbed.schema.reading.explain import Mistake, MistakesError

Value = str | int | float | bool


class Point(Spec):
    """A point of a sweep, from a file or a grid."""

    set: dict[str, Value] = Field(min_length=1, description="keys of the scenario, or their last parts, and values")
    published: dict[str, Value] = Field(
        default_factory=dict, description="values of metrics that others have published for this point"
    )

    @property
    def texts(self) -> dict[str, str]:
        """The values by key, as YAML."""
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in self.set.items()}

    @property
    def name(self) -> str:
        """The keys and values: ``layers=1 proposers=3``."""
        return " ".join(f"{key}={text}" for key, text in self.texts.items())

    @property
    def directory(self) -> str:
        """The name without characters that file names or shells treat specially."""
        return re.sub(r"[^\w.+%=,-]", "_", self.name.replace(" ", ","))

    @property
    def published_values(self) -> dict[str, float]:
        """The published values by metric, in the metrics' units."""
        return {metric: read_metric(metric, str(written)) for metric, written in self.published.items()}

    @field_validator("published")
    @classmethod
    def _check(cls, published: dict[str, Value]) -> dict[str, Value]:
        if found := list(_unreadable(published)):
            raise MistakesError(found)
        return published


def _unreadable(published: dict[str, Value]) -> Iterator[Mistake]:
    for metric, written in published.items():
        if metric not in METRICS:
            yield (metric,), f"there is no metric {metric!r}; known are {', '.join(METRICS.names())}"
            continue
        try:
            read_metric(metric, str(written))
        except ValueError as error:
            yield (metric,), str(error)


def read_grid(options: Sequence[str]) -> list[Point]:
    """Every combination of the values in ``KEY=VALUE,VALUE,…`` options of the command line; raises SpecError."""
    axes: dict[str, list[Value]] = {}
    for option in options:
        key, values = _read_axis(option)
        if key in axes:
            raise SpecError.of("--grid", f"names `{key}` twice; write all its values at once, like {key}=0,1,2")
        axes[key] = values
    return [Point(set=dict(zip(axes, values, strict=True))) for values in product(*axes.values())] if axes else []


def _read_axis(option: str) -> tuple[str, list[Value]]:
    key, equals, text = option.partition("=")
    values = read_value("--grid", f"[{text}]") if equals and all(key.split(".")) else []
    if not values or not all(isinstance(value, Value) for value in values):
        raise SpecError.of("--grid", f"{option!r} must read KEY=VALUE,VALUE,…, like layers=0,1,2")
    for value in values:
        if values.count(value) > 1:
            raise SpecError.of("--grid", f"{option!r} has {value} twice; leave one of the two out")
    return key, values
