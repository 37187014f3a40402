"""Timelines that are drawn: what stands in place of each ``random`` once the seed of a run is known.

Nothing but the topology, the options and the seed decides. The faults begin by a Poisson process, until about the last
prompt has arrived; each has a kind, something to happen to and a duration of its own. What cannot be, as that a dead
node is paused, is drawn again.
"""

import random
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from testbed.core import seeds
from testbed.core.units import DURATION
from testbed.schema.fault import FAULTS
from testbed.schema.timeline.entries import Entry, Extent, RandomFaults, timeline_mistakes

_DRAWS: Final = 20  # of one fault; a moment at which none of them can be has none


def drawn(timeline: Sequence[Entry], extent: Extent, seed: int) -> list[Entry]:
    """The timeline without ``random``: the other entries, and then those that are drawn."""
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
