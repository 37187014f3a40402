"""The events of a run as they come in: from the host, from its nodes, and from whoever changes links."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from testbed.analysis.events import HOST, Event
from testbed.core.clock import Clock


class RunEvents:
    """All events of a run so far. Changes of links are appended to the file ``links``, which is read as it grows."""

    def __init__(self, links: Path, clock: Clock) -> None:
        self._clock = clock
        self._links = _Tail(links)
        self.events: list[Event] = []

    def emit(self, event: str, **fields: object) -> None:
        """Record an event of the host, at this moment."""
        self.events.append({"t": self._clock.now(), "node": HOST, "event": event, **fields})

    def take(self, events: Sequence[Event]) -> None:
        """Add an event that a node sent."""
        self.events += events

    def catch_up(self) -> None:
        """Add the changes of links since the last call."""
        self.events += self._links.read()

    def ordered(self, zero: float) -> list[Event]:
        """All events in the order of time, which is counted from ``zero``."""
        shifted = ({**event, "t": round(event["t"] - zero, 6)} for event in self.events)
        return sorted(shifted, key=lambda event: event["t"])


class _Tail:
    """The lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def read(self) -> Iterator[Event]:
        """The events of complete lines since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):  # still being written
                    return
                self._position += len(line)
                yield json.loads(line)
