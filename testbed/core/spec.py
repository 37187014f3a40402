"""The base of all schemas."""

import re
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema


class Spec(BaseModel):
    """A part of a file. Unknown keys are refused, values are not converted, and instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def matching(pattern: str, rule: str) -> tuple[Any, ...]:
    """Annotations of a string that must match ``pattern`` as a whole; ``rule`` describes the pattern in messages."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} must be {rule}")
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})
