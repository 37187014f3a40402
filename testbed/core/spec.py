"""What every part of a file is made of."""

import re
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema


class Spec(BaseModel):
    """A part of a file: it takes the keys that it knows, and cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def matching(pattern: str, rule: str) -> tuple[Any, ...]:
    """What annotates a string that must match ``pattern``; ``rule`` says the same to people."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} must be {rule}")
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})
