"""The events of a run: what its nodes wrote (:mod:`testbed.node.event_log`) and what the host saw.

docs/results.md lists them and what they carry.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from testbed.core.clock import Clock

Event = dict[str, Any]
"""One event: ``t`` in seconds of the run's clock, ``node``, ``event``, and what it carries."""

HOST: Final = ""
"""The ``node`` of events that the host writes."""


class EventLog:
    """All events of a run as they come in: the runner's own, and others' from the files that they write."""

    def __init__(self, files: Iterable[Path], clock: Clock) -> None:
        self._clock = clock
        self._files = [_Tail(path) for path in files]
        self.events: list[Event] = []

    def emit(self, event: str, **fields: object) -> None:
        """Record what the host sees happening now."""
        self.events.append({"t": self._clock.now(), "node": HOST, "event": event, **fields})

    def collect(self) -> list[Event]:
        """Take in what has been written since the last call, and return it."""
        new = [event for tail in self._files for event in tail.read()]
        self.events += new
        return new

    def ordered(self, zero: float) -> list[Event]:
        """All events by their time, which is counted from ``zero``."""
        shifted = ({**event, "t": round(event["t"] - zero, 6)} for event in self.events)
        return sorted(shifted, key=lambda event: event["t"])


class _Tail:
    """The lines that are being added to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def read(self) -> Iterator[Event]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):  # still being written
                    return
                self._position += len(line)
                yield json.loads(line)


def write_events(events: Iterable[Event], path: Path) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
