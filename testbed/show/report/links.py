"""The properties of links, as asked and as measured before and after play."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from testbed.core.units import BANDWIDTH, DURATION

_PROPERTIES: Final = ("delay", "jitter", "rate", "loss")


@dataclass(frozen=True)
class Property:
    """One property of a direction, for people; "–" if unknown."""

    asked: str
    before: str
    after: str


@dataclass(frozen=True)
class DirectionRow:
    """One direction of a link; ``wrong`` has its flaws as sentences."""

    source: str
    target: str
    properties: Mapping[str, Property]
    carried: int | None
    wrong: Sequence[str]


def direction_rows(summary: Mapping[str, Any], ends: Mapping[str, tuple[str, str]]) -> Iterator[DirectionRow]:
    """A row for each direction of the links in the summary of a run; ``ends`` are by link."""
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
