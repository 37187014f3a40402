"""The keys of a scenario, and their short names on command lines."""

import difflib
from collections.abc import Iterator
from functools import cache

from testbed.core.errors import SpecError
from testbed.schema.explain import Schema
from testbed.schema.scenario import json_schema


@cache
def scenario_keys() -> tuple[str, ...]:
    """Every key that holds a value and has one name in all scenarios: ``pattern.layers``, but no key of a node."""
    schema = json_schema()
    return tuple(dict.fromkeys(".".join(path) for path in _leaves(schema, schema)))


def full_key(option: str, key: str) -> str:
    """The key that ends in ``key``: ``layers`` is ``pattern.layers``. Raises SpecError unless there is exactly one."""
    if key in scenario_keys() or _below(key):
        return key
    meant = [known for known in scenario_keys() if known.endswith(f".{key}")]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise SpecError.of(option, f"`{key}` may be {', '.join(meant)}; write enough to tell them apart")
    last_parts = {known.rpartition(".")[2] for known in scenario_keys()}
    close = difflib.get_close_matches(key.rpartition(".")[2], sorted(last_parts), 1)
    raise SpecError.of(
        option, f"there is no key `{key}` in a scenario" + (f"; did you mean `{close[0]}`?" if close else "")
    )


def _below(key: str) -> bool:
    """Whether ``key`` is in a part whose keys are names or numbers of the user's, such as the topology's nodes."""
    return any(key.startswith(f"{known}.") for known in scenario_keys())


def _leaves(root: Schema, schema: Schema) -> Iterator[tuple[str, ...]]:
    """The paths through ``properties`` of a schema to those without properties of their own."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    branches: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    properties: Schema = schema.get("properties", {})
    if not properties:
        found = [path for branch in branches for path in _leaves(root, branch)]
        yield from (path for path in found if path)
        if () in found or not found:
            yield ()
        return
    for name, within in properties.items():
        yield from ((name, *path) for path in _leaves(root, within))
