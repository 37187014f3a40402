"""The keys of a scenario, and their short names on command lines."""

import difflib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from testbed.core.errors import SpecError
from testbed.core.presence import is_file
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Schema
from testbed.schema.scenario import Scenario, json_schema


@cache
def scenario_keys() -> tuple[str, ...]:
    """Every key that holds a value and has one name in all scenarios: ``pattern.layers``, but no key of a node."""
    schema = json_schema()
    return tuple(dict.fromkeys(".".join(path) for path in _leaves(schema, schema)))


def full_key(option: str, key: str) -> str:
    """The key that ``key`` is short for: ``pattern.layers`` for ``layers``.

    A key of the topology may omit that part, as ``nodes.a.cpus`` does. A key that begins with a key of the file's top
    level is complete. Of several, the one with the fewest parts is meant: ``workload.count`` by ``count``. Raises
    SpecError unless there is exactly one.
    """
    first, *rest = key.split(".")
    if key in scenario_keys() or (rest and first in Scenario.model_fields):
        return key
    if rest and first in Topology.model_fields:
        return f"topology.{key}"
    ending = [known for known in scenario_keys() if known.endswith(f".{key}")]
    fewest = min((known.count(".") for known in ending), default=0)
    meant = [known for known in ending if known.count(".") == fewest]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise SpecError.of(option, f"`{key}` may be {', '.join(meant)}; write enough to tell them apart")
    last_parts = sorted({known.rpartition(".")[2] for known in scenario_keys()})
    close = difflib.get_close_matches(key, scenario_keys(), 1)
    close = close or difflib.get_close_matches(key.rpartition(".")[2], last_parts, 1)
    raise SpecError.of(
        option, f"there is no key `{key}` in a scenario" + (f"; did you mean `{close[0]}`?" if close else "")
    )


def full_assignment(assignment: str) -> str:
    """A ``KEY=VALUE`` of the command line with the complete key, and with the absolute path of a file that it names.

    A relative path is looked for in the working directory first. Raises SpecError.
    """
    key, equals, value = assignment.partition("=")
    if not equals or not all(key.split(".")):
        raise SpecError.of("--set", f"{assignment!r} must read KEY=VALUE, like pattern.layers=2")
    path = Path(value)
    named = path.suffix and is_file(path)
    return f"{full_key('--set', key)}={json.dumps(str(path.absolute())) if named else value}"


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
