"""A pydantic error as one sentence: what is wrong, and what would be right."""

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Loc = tuple[str | int, ...]
"""Where something stands in a document: ``("links", 0, "delay")``."""


Schema = dict[str, Any]
"""A JSON Schema, or a part of one."""


Mistake = tuple[Loc, str]
"""Where something is wrong, and the sentence about it."""


class MistakesError(ValueError):
    """What a model finds wrong between the parts that it holds; places count from the model."""

    def __init__(self, found: list[Mistake]) -> None:
        self.found = found
        super().__init__("; ".join(f"{dotted(loc)}: {message}" for loc, message in found))


def dotted(loc: Loc) -> str:
    """``links[0].delay``"""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc).lstrip(".")


def explain(error: ErrorDetails, model: type[BaseModel]) -> Iterator[Mistake]:
    """The mistakes that ``error`` stands for."""
    found = error.get("ctx", {}).get("error")
    if isinstance(found, MistakesError):
        yield from ((error["loc"] + loc, message) for loc, message in found.found)
    else:
        yield _explain(error, model)


def _explain(error: ErrorDetails, model: type[BaseModel]) -> Mistake:
    loc = tuple(step for step in error["loc"] if step != "[key]")  # pydantic's word for a key that is itself wrong
    if error["type"] == "extra_forbidden":
        known = _descend(model.model_json_schema(), loc[:-1]).get("properties", {})
        return loc, f"there is no such key here{_instead(str(loc[-1]), known)}"
    if error["type"] == "missing":
        return loc[:-1], f"`{loc[-1]}` is missing"
    if error["type"] == "value_error":
        return loc, error["msg"].removeprefix("Value error, ")
    given = error["input"]
    if error["type"] in ("model_type", "dict_type"):
        return loc, "must hold keys and values"
    subject = "this" if isinstance(given, dict | list) else f"`{'' if given is None else given}`"
    return loc, f"{subject} is wrong: {error['msg'][0].lower()}{error['msg'][1:]}"


def _descend(root: Schema, loc: Loc) -> Schema:
    """The schema of the innermost mapping with named keys on the way to ``loc``."""
    schema = innermost = _resolve(root, root)
    for step in loc:
        schema = _resolve(root, _child(schema, step))
        innermost = schema if "properties" in schema else innermost
    return innermost


def _child(schema: Schema, step: str | int) -> Schema:
    within = schema.get("items") if isinstance(step, int) else schema.get("properties", {}).get(step)
    by_pattern = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    return next((child for child in (within, *by_pattern) if isinstance(child, dict)), {})


def _resolve(root: Schema, schema: Schema) -> Schema:
    if "$ref" in schema:
        return _resolve(root, root["$defs"][schema["$ref"].rsplit("/", 1)[1]])
    branches = [branch for branch in schema.get("anyOf", []) if branch.get("type") != "null"]
    return _resolve(root, branches[0]) if branches else schema


def _instead(key: str, known: Schema) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(known)}"
