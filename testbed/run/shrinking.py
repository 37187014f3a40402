"""Shrinking: the search for the smallest timeline that still breaks an invariant.

First, entries are removed by delta debugging (ddmin: Zeller and Hildebrandt, *Simplifying and Isolating
Failure-Inducing Input*, IEEE Transactions on Software Engineering 28(2), 2002):

    ████░░░░  ░░░░████             one part of two; if neither breaks, of four, of eight, … down to single entries
    ░░██████  ██░░████  ████░░██   all parts but one
    └ the search continues with the part that breaks

Then the duration of each remaining entry is halved for as long as the timeline still breaks.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

from testbed.schema.timeline.entries import Entry

Timeline = list[Entry]
Breaks = Callable[[Timeline], bool]
"""Whether a timeline breaks an invariant. A call plays a run."""

_SHORTEST: Final = 0.1
"""Seconds. A shorter fault may end before it is in force."""


def shrink(timeline: Timeline, breaks: Breaks, most: int) -> Timeline:
    """The smallest timeline found that breaks, reduced from ``timeline``, which breaks.

    ``breaks`` is called at most ``most`` times, and never twice with the same timeline.
    """
    asked = _Asked(breaks, most)
    return _shorter(_fewer(timeline, asked), asked)


class _Asked:
    """Caches the answers of ``breaks``. After ``most`` calls, every new timeline counts as harmless."""

    def __init__(self, breaks: Breaks, most: int) -> None:
        self._breaks = breaks
        self._most = most
        self._known: list[tuple[Timeline, bool]] = []

    def __call__(self, timeline: Timeline) -> bool:
        for known, answer in self._known:
            if known == timeline:
                return answer
        if len(self._known) == self._most:
            return False
        self._known.append((timeline, self._breaks(timeline)))
        return self._known[-1][1]


def _fewer(timeline: Timeline, breaks: Breaks) -> Timeline:
    """``timeline`` without the entries that it can break without. The empty one is tried first: a bug may need none."""
    if breaks([]):
        return []
    parts = 2
    while len(timeline) > 1:
        found = next(((fewer, then) for fewer, then in _without(timeline, parts) if breaks(fewer)), None)
        if found:
            timeline, parts = found
        elif parts == len(timeline):
            break
        else:
            parts = min(2 * parts, len(timeline))
    return timeline


def _without(timeline: Timeline, parts: int) -> Iterator[tuple[Timeline, int]]:
    """Each part of a timeline, and each timeline without one part; with the number of parts to divide it into next."""
    borders = [len(timeline) * number // parts for number in range(parts + 1)]
    for begin, end in pairwise(borders):
        yield timeline[begin:end], 2
    for begin, end in pairwise(borders):
        yield [*timeline[:begin], *timeline[end:]], max(2, parts - 1)


def _shorter(timeline: Timeline, breaks: Breaks) -> Timeline:
    """The timeline with every entry as short as it can be and still break."""
    for index in range(len(timeline)):
        while halved := _halved(timeline, index):
            if not breaks(halved):
                break
            timeline = halved
    return timeline


def _halved(timeline: Timeline, index: int) -> Timeline | None:
    """The timeline with one entry half as long; None if the entry has no duration, or would become too short."""
    entry = timeline[index]
    if entry.lasts is None or entry.lasts / 2 < _SHORTEST:
        return None
    shorter = entry.model_copy(update={"lasts": round(entry.lasts / 2, 3)})
    return [*timeline[:index], shorter, *timeline[index + 1 :]]
