"""A pydantic error as one sentence: what is wrong, and what would be right."""

import difflib
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Loc = tuple[str | int, ...]
"""Where something stands in a document: ``("links", 0, "delay")``."""


Schema = dict[str, Any]
"""A JSON Schema, or a part of one."""


def dotted(loc: Loc) -> str:
    """``links[0].delay``"""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc).lstrip(".")


def explain(error: ErrorDetails, model: type[BaseModel]) -> tuple[Loc, str]:
    """Where in the file the mistake stands, and the sentence about it."""
    loc = error["loc"]
    if error["type"] == "extra_forbidden":
        known = _descend(model.model_json_schema(), loc[:-1]).get("properties", {})
        return loc, f"there is no such key here{_instead(str(loc[-1]), known)}"
    if error["type"] == "missing":
        return loc[:-1], f"`{loc[-1]}` is missing"
    if error["type"] == "value_error":
        return loc, error["msg"].removeprefix("Value error, ")
    given = error["input"]
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
    within = within or schema.get("additionalProperties")
    return within if isinstance(within, dict) else {}


def _resolve(root: Schema, schema: Schema) -> Schema:
    if "$ref" in schema:
        definition: Schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        return definition
    branches = [branch for branch in schema.get("anyOf", []) if branch.get("type") != "null"]
    return _resolve(root, branches[0]) if branches else schema


def _instead(key: str, known: Schema) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(known)}"
