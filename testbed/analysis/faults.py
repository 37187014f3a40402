"""When each fault of a run was due, began and ended, from its events."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from testbed.analysis.events import Event
from testbed.schema.timeline.entries import Entry


@dataclass(frozen=True)
class FaultRecord:
    """One entry of the timeline. Times are seconds since the beginning of play, None if it never happened.

    ``awaited`` is the entry's trigger, for people. The fault was due at ``asked``, in force from ``began`` and undone
    at ``ended``. ``failure`` is the reason if it could not be carried out.
    """

    name: str
    kind: str
    subject: str
    awaited: str
    asked: float | None = None
    began: float | None = None
    ended: float | None = None
    failure: str | None = None

    @property
    def over(self) -> float | None:
        """When the fault was over; of an entry that heals a fault, when it did."""
        return self.began if self.kind == "heal" else self.ended


def fault_records(timeline: Sequence[Entry], events: Sequence[Event]) -> Iterator[FaultRecord]:
    """A record for each entry, in the order of the file."""
    kinds = ("fault_begin", "fault_end", "fault_failed")
    found = {(event["event"], event["name"]): event for event in events if event["event"] in kinds}
    for entry in timeline:
        begin, end, failed = (found.get((kind, entry.label), {}) for kind in kinds)
        yield FaultRecord(
            entry.label,
            entry.kind,
            entry.subject,
            entry.awaited,
            asked=begin.get("asked"),
            began=begin.get("t"),
            ended=end.get("t"),
            failure=failed.get("reason"),
        )
