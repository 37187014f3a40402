"""The bytes of a node's event stream, cut into events."""

import json
from collections.abc import Sequence

from testbed.world.nodes.handle import Event, NodeClock


class EventFeed:
    """The events of one node over all of its connections and restarts.

    ``taken`` is the number of bytes that whole events made up so far: where a new connection goes on.
    """

    def __init__(self, clock: NodeClock) -> None:
        self._clock = clock
        self._torn = b""
        self.taken = 0

    def resume(self) -> int:
        """Forget the beginning of an event that a connection left behind; returns ``taken``."""
        self._torn = b""
        return self.taken

    def take(self, chunk: bytes) -> Sequence[Event]:
        """The events that are whole now, with their times on the run's clock."""
        *lines, self._torn = (self._torn + chunk).split(b"\n")
        self.taken += sum(len(line) + 1 for line in lines)
        events: list[Event] = [json.loads(line) for line in lines]
        return [{**event, "t": self._clock.on_run_clock(event["t"])} for event in events]
