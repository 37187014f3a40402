"""The events of a run: those of its nodes (:mod:`testbed.node.event_log`) and those of the host.

docs/results.md lists them with their fields.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

Event = dict[str, Any]
"""One event: ``t`` in seconds of the run's clock, ``node``, ``event``, and further fields."""

HOST: Final = ""
"""The ``node`` of events that the host writes."""


def write_events(events: Iterable[Event], path: Path) -> None:
    """Write ``events.jsonl``: one JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
