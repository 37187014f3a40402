"""docs/results.md names every event that a node writes, and every field."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import testbed.node

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
COMMON = {"t", "node", "event"}


def _emitted() -> dict[str, set[str]]:
    """The fields that node code gives an event, by the event's name."""
    fields: defaultdict[str, set[str]] = defaultdict(set)
    for path in Path(testbed.node.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match call:
                case ast.Call(
                    func=ast.Attribute(attr="emit"), args=[ast.Constant(value=str(event))], keywords=keywords
                ):
                    fields[event] |= {keyword.arg for keyword in keywords if keyword.arg}
    return fields


def _documented() -> dict[str, set[str]]:
    """The words in backticks of each row of the table of events, by the names in its first column."""
    rows: dict[str, set[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) >= 3 and re.match(r"(node|host|head of a ring)", cells[1]):
            named = set(re.findall(r"`(\w+)`", cells[2]))
            for event in re.findall(r"`(\w+)`", cells[0]):
                rows[event] = named
    for event, named in rows.items():
        rows[event] = named.union(*(rows[other] for other in named & {"enqueue", "send"} if other != event))
    return rows


def test_every_event_of_a_node_is_documented_with_its_fields() -> None:
    emitted, documented = _emitted(), _documented()
    assert len(emitted) > 20
    missing = {event: fields - documented.get(event, set()) for event, fields in emitted.items()}
    assert {event: fields for event, fields in missing.items() if fields or event not in documented} == {}
