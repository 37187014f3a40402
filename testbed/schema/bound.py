"""Bounds on metrics, like ``< 15s``."""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Final

from pydantic import AfterValidator, GetJsonSchemaHandler, PlainSerializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.core.registry import KindError
from testbed.core.units import SCALED
from testbed.schema.metric import unit_of

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_BOUND = re.compile(r"\s*(<=|>=|==|<|>)\s*(\S.*?)\s*")


@dataclass(frozen=True)
class Bound:
    """A comparison with ``limit``, in the metric's unit; ``written`` is the text in the file."""

    comparison: str
    limit: float
    written: str

    @classmethod
    def parse(cls, metric: str, written: str) -> "Bound":
        """The bound on ``metric`` that ``written`` stands for; raises ValueError with what would be right."""
        match = _BOUND.fullmatch(written)
        if match is None:
            raise ValueError(
                f'{written!r} must be a comparison and a bound, like "< 3" (one of {" ".join(_OPERATORS)})'
            )
        return cls(match[1], read_metric(metric, match[2]), written)

    def holds(self, value: float | None) -> bool:
        """Whether ``value`` keeps the bound. None, the value of a metric without data, keeps no bound."""
        return value is not None and _OPERATORS[self.comparison](value, self.limit)


def bound_on(metric: str) -> Any:
    """The type of a field that holds a bound on ``metric``, which is loaded when the field is first used."""
    return Annotated[
        str,
        AfterValidator(partial(Bound.parse, metric)),
        PlainSerializer(lambda bound: bound.written),
        _BoundSchema(metric),
    ]


@dataclass(frozen=True)
class _BoundSchema:
    metric: str

    @property
    def _unit(self) -> str:
        try:
            return unit_of(self.metric)
        except KindError:  # whoever uses the metric is told
            return ""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        example = {"s": "< 2s", "B": "< 100MiB", "%": ">= 95%"}.get(self._unit, "< 3")
        return {"type": "string", "pattern": r"^\s*(<=|>=|==|<|>)", "examples": [example]}


def read_metric(metric: str, text: str) -> float:
    """The value that ``text`` gives for ``metric``, in its unit; raises ValueError with what would be right."""
    unit = unit_of(metric)
    number = _number(text.removesuffix(unit) if unit not in SCALED else text)
    if unit not in SCALED:
        if number is None:
            raise ValueError(f"{text!r} is not a number{f' of {unit}' if unit else f'; {metric} has no unit'}")
        return number
    if unit == "%" and number is not None and 0 <= number <= 1:  # 0.95 is the same share as 95%
        return number
    return replace(SCALED[unit], positive=False).parse(text)  # a measured value may be 0


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
