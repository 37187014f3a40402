"""Draws the entries that replace each ``random`` of a timeline.

The result depends on the topology, the options and the seed alone. Faults begin by a Poisson process until the expected
time of the last arrival. Each has a kind, a target and a duration of its own. A fault that the timeline check would
refuse, such as a pause of a dead node, is drawn again.
"""

import random
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from testbed.core import seeds
from testbed.core.units import DURATION
from testbed.schema.fault import FAULTS
from testbed.schema.timeline.entries import Entry, timeline_mistakes
from testbed.schema.timeline.random_options import RandomFaults
from testbed.schema.timeline.triggers import Extent

_DRAWS: Final = 20  # attempts for one fault; if all are refused, no fault begins at that moment


def drawn(timeline: Sequence[Entry], extent: Extent, seed: int) -> list[Entry]:
    """``timeline`` without ``random``: first its other entries, then the drawn ones, with names and times."""
    entries = [entry for entry in timeline if entry.random is None]
    for entry in timeline:
        if entry.random is not None:
            _add(entry.random, entries, extent, seeds.stream(seed, "timeline", entry.label))
    return entries


def _add(options: RandomFaults, entries: list[Entry], extent: Extent, chance: random.Random) -> None:
    kinds = options.possible(extent.topology)
    at = chance.expovariate(options.rate)
    while at < extent.seconds:
        for _ in range(_DRAWS):
            entry = _draw(chance.choice(kinds), at, options, entries, extent, chance)
            if not any(timeline_mistakes([*entries, entry], extent)):
                entries.append(entry)
                break
        at += chance.expovariate(options.rate)


def _draw(
    kind: str, at: float, options: RandomFaults, entries: Sequence[Entry], extent: Extent, chance: random.Random
) -> Entry:
    taken = {entry.label for entry in entries}
    name = next(name for number in count(1) if (name := f"{kind}-{number}") not in taken)
    written: dict[str, Any] = {"name": name, "at": _written(at), kind: FAULTS.get(kind).draw(extent.topology, chance)}
    lasts = chance.uniform(options.shortest, options.longest)
    if not FAULTS.get(kind).momentary:
        written["for"] = _written(lasts)
    return Entry.model_validate(written)


def _written(seconds: float) -> str:
    return DURATION.format(max(0.001, round(seconds, 3)))
