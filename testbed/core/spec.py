"""The base of all schemas."""

import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema


class Spec(BaseModel):
    """A part of a file. Unknown keys are refused, values are not converted, and instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values, which are not checked. What the original has worked out is worked out anew."""
        copy = super().model_copy(update=update, deep=deep)
        worked_out = vars(copy).keys() - type(self).model_fields.keys()
        for name in worked_out:  # pydantic copies the values of cached properties, which the update can make wrong
            del copy.__dict__[name]
        return copy


def matching(pattern: str, rule: str) -> tuple[Any, ...]:
    """Annotations of a string that must match ``pattern`` as a whole; ``rule`` describes the pattern in messages."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} must be {rule}")
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})
