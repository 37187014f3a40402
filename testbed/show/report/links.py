"""Links as they were asked to be, and as they were measured before play and after it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from testbed.core.units import BANDWIDTH, DURATION

_PROPERTIES: Final = ("delay", "jitter", "rate", "loss")


@dataclass(frozen=True)
class Property:
    """One property of a direction, as people read it; "–" where there is nothing to say."""

    asked: str
    before: str
    after: str


@dataclass(frozen=True)
class DirectionRow:
    """One direction of a link; ``wrong`` are the sentences on what was not as asked."""

    source: str
    target: str
    properties: Mapping[str, Property]
    carried: int | None
    wrong: Sequence[str]


def direction_rows(summary: Mapping[str, Any], ends: Mapping[str, tuple[str, str]]) -> Iterator[DirectionRow]:
    """A row for each direction of the links, by name with both ``ends``, in a run with this summary."""
    measured, carried = summary["fidelity"]["links"] or {}, summary["links"]
    for link, (a, b) in ends.items():
        for direction, source, target in (("up", a, b), ("down", b, a)):
            seen = measured.get(link, {}).get(direction, {})
            about = (f"link {link} {direction}:", *([f"link {link} lost"] if direction == "up" else []))  # of both
            yield DirectionRow(
                source,
                target,
                {name: _property(name, seen) for name in _PROPERTIES},
                carried.get(link, {}).get(direction),
                [reason for reason in summary["fidelity"]["reasons"] if reason.startswith(about)],
            )


def _property(name: str, seen: Mapping[str, Mapping[str, float | None]]) -> Property:
    return Property(*(_readable(name, seen.get(side, {}).get(name)) for side in ("asked", "before", "after")))


def _readable(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name == "rate":
        return BANDWIDTH.readable(value)
    if name == "loss":
        return f"{value * 100:.3g} %"
    return DURATION.readable(value) if value else "0"
