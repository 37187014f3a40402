"""The events of a run as they come in: what the host sees, what its nodes send, and what changes links."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from testbed.analysis.events import HOST, Event
from testbed.core.clock import Clock


class RunEvents:
    """All events of a run so far. Those who change its links note that in the file ``links``, which is followed."""

    def __init__(self, links: Path, clock: Clock) -> None:
        self._clock = clock
        self._links = _Tail(links)
        self.events: list[Event] = []

    def emit(self, event: str, **fields: object) -> None:
        """Record what the host sees happening now."""
        self.events.append({"t": self._clock.now(), "node": HOST, "event": event, **fields})

    def take(self, events: Sequence[Event]) -> None:
        """Add what a node sent."""
        self.events += events

    def catch_up(self) -> None:
        """Take in what was noted of links since the last call."""
        self.events += self._links.read()

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
        """The events that are whole since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):  # still being written
                    return
                self._position += len(line)
                yield json.loads(line)
