"""Errors of pydantic as sentences: what is wrong, and what would be right."""

import difflib
from collections.abc import Iterator
from datetime import date
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Loc = tuple[str | int, ...]
"""A place in a document: ``("links", 0, "delay")``."""


Schema = dict[str, Any]
"""A JSON Schema or a part of one."""


Mistake = tuple[Loc, str]
"""A place and the sentence on what is wrong there."""


class MistakesError(ValueError):
    """Mistakes that a validator finds; places are relative to its model."""

    def __init__(self, found: list[Mistake]) -> None:
        self.found = found
        super().__init__("; ".join(f"{dotted(loc)}: {message}" for loc, message in found))


def dotted(loc: Loc) -> str:
    """``loc`` for people: ``links[0].delay``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc).lstrip(".")


def explain(error: ErrorDetails, model: type[BaseModel]) -> Iterator[Mistake]:
    """The mistakes behind one error of ``model``, by place in the file."""
    place, around = _find(model.model_json_schema(), error["loc"])
    found = error.get("ctx", {}).get("error")
    if isinstance(found, MistakesError):
        yield from ((place + loc, message) for loc, message in found.found)
    else:
        yield _explain(error, place, around)


def _explain(error: ErrorDetails, loc: Loc, around: Schema) -> Mistake:
    """One error as a mistake; ``around`` is the schema of the innermost mapping around ``loc``."""
    if error["type"] == "extra_forbidden":
        return loc, f"there is no such key here{_instead(str(loc[-1]), around.get('properties', {}))}"
    if error["type"].startswith("union_tag"):
        return _explain_tag(loc, error)
    if error["type"] == "missing":
        return loc[:-1], f"`{loc[-1]}` is missing"
    if error["type"] == "value_error":
        return loc, error["msg"].removeprefix("Value error, ")
    given = error["input"]
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return loc, "must hold keys and values"
    if error["type"] == "string_type" and given is None:
        return loc, "nothing is here, and text is wanted; the name `null` needs quotes"
    if error["type"] == "string_type" and isinstance(given, bool | int | float | date):
        return loc, f"`{_as_written(given)}` is no text in YAML, and text is wanted; as a name it needs quotes"
    subject = "this" if isinstance(given, dict | list) else f"`{'' if given is None else given}`"
    return loc, f"{subject} is wrong: {error['msg'][0].lower()}{error['msg'][1:]}"


def _as_written(given: bool | int | float | date) -> str:
    return str(given).lower() if isinstance(given, bool) else str(given)


def _explain_tag(loc: Loc, error: ErrorDetails) -> Mistake:
    """A discriminator, the key that decides which others are allowed, is wrong or missing."""
    context = error["ctx"]
    key = context["discriminator"].strip("'")
    if "tag" not in context:
        return loc, f"`{key}` is missing"
    return (*loc, key), f"`{context['tag']}` is wrong: it should be one of {context['expected_tags']}"


def _find(root: Schema, loc: Loc) -> tuple[Loc, Schema]:
    """``loc`` as in the file, and the schema of the innermost mapping with named keys around it.

    Pydantic's places have extra steps: in brackets for a wrong key and for branches of a union, or the value of the
    discriminator.
    """
    place: list[str | int] = []
    schemas = list(_branches(root, root))
    innermost = around = schemas[0]
    for step in loc:
        if str(step).startswith("["):
            continue
        if len(schemas) > 1 and (told := [schema for schema in schemas if _is_kind(schema, step)]):
            schemas, innermost = told, told[0]
            continue
        place.append(step)
        around = innermost
        children = [_child(schema, step) for schema in schemas]
        schemas = [branch for child in children for branch in _branches(root, child)]
        innermost = next((schema for schema in schemas if "properties" in schema), innermost)
    return tuple(place), around


def _is_kind(schema: Schema, tag: str | int) -> bool:
    return any(known.get("const") == tag for known in schema.get("properties", {}).values())


def _child(schema: Schema, step: str | int) -> Schema:
    within = schema.get("items") if isinstance(step, int) else schema.get("properties", {}).get(step)
    by_pattern = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    return next((child for child in (within, *by_pattern) if isinstance(child, dict)), {})


def _branches(root: Schema, schema: Schema) -> Iterator[Schema]:
    """The alternatives of a schema, with references resolved."""
    if "$ref" in schema:
        yield from _branches(root, root["$defs"][schema["$ref"].rsplit("/", 1)[1]])
    elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
        for alternative in alternatives:
            yield from _branches(root, alternative)
    else:
        yield schema


def _instead(key: str, known: Schema) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(known)}"
