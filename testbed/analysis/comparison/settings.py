"""What the files of two sets of runs say differently, key by key."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from testbed.schema.link_names import link_name, numbers

_OWN: Final = ("name", "seed", "baseline", "expect", "sweep")
"""Keys of a scenario that say nothing about what its run does."""

NOTHING: Final = "–"
"""Stands for a value that a side does not have."""


@dataclass(frozen=True)
class Difference:
    """A key of the scenario files, and its value on each side; several values of a side are joined by commas."""

    key: str
    base: str
    new: str

    def __str__(self) -> str:
        return f"{self.key}: {self.base} → {self.new}"


def settings_of(scenario: Mapping[str, Any]) -> dict[str, str]:
    """The values of a recorded scenario by key, ``pattern.layers`` or ``links.a-s1.delay``, as texts."""
    kept = {key: value for key, value in scenario.items() if key not in _OWN}
    topology = kept.pop("topology", {})
    links = topology.get("links", [])
    ends = [(link["endpoints"][0], link["endpoints"][1]) for link in links]
    named = {link_name(a, b, number): link for (a, b), number, link in zip(ends, numbers(ends), links, strict=True)}
    rest = {key: value for key, value in topology.items() if key not in ("name", "links")}
    return dict(_flat("", {**kept, **rest, "links": named}))


def differences(base: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """The keys whose values are not the same in the scenarios of both sides, in the order of the files."""
    before, after = ([settings_of(scenario) for scenario in side] for side in (base, new))
    keys = dict.fromkeys(key for settings in (*before, *after) for key in settings)
    sides = [(key, _said(key, before), _said(key, after)) for key in keys]
    return [Difference(*side) for side in sides if side[1] != side[2]]


def _said(key: str, side: Sequence[Mapping[str, str]]) -> str:
    return ", ".join(dict.fromkeys(settings.get(key, NOTHING) for settings in side))


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _flat(f"{key}.{name}" if key else str(name), part)
    elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        for number, part in enumerate(value):
            yield from _flat(f"{key}[{number}]", part)
    else:
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
