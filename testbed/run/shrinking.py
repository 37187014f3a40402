"""The smallest timeline that still breaks something.

First entries are left out, by delta debugging (ddmin: Zeller and Hildebrandt, *Simplifying and Isolating
Failure-Inducing Input*, IEEE Transactions on Software Engineering 28(2), 2002):

    ████░░░░  ░░░░████             one part of two; if neither breaks, of four, of eight, … down to single entries
    ░░██████  ██░░████  ████░░██   all but one part
    └ whatever breaks is what is left, and the search goes on with it

Then those that are left are made shorter, by halves.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

from testbed.schema.timeline.entries import Entry

Timeline = list[Entry]
Breaks = Callable[[Timeline], bool]
"""Whether a timeline breaks something; to find out may take a run."""

_SHORTEST: Final = 0.1
"""Seconds. What ends any sooner may be over before it is in force."""


def shrink(timeline: Timeline, breaks: Breaks, most: int) -> Timeline:
    """The smallest part of ``timeline``, which breaks, that was found to break with ``most`` questions at most.

    ``breaks`` is asked about no timeline twice.
    """
    asked = _Asked(breaks, most)
    return _shorter(_fewer(timeline, asked), asked)


class _Asked:
    """Remembers what it was told. Once it has asked often enough, it takes the rest for harmless."""

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
    """Without all entries that it takes none of; the empty one first, for some faults are in the nodes."""
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
    """What is left of a timeline without some of its parts, and into how many parts to take that."""
    borders = [len(timeline) * number // parts for number in range(parts + 1)]
    for begin, end in pairwise(borders):
        yield timeline[begin:end], 2
    for begin, end in pairwise(borders):
        yield [*timeline[:begin], *timeline[end:]], max(2, parts - 1)


def _shorter(timeline: Timeline, breaks: Breaks) -> Timeline:
    """With every entry as short as it still breaks."""
    for index in range(len(timeline)):
        while halved := _halved(timeline, index):
            if not breaks(halved):
                break
            timeline = halved
    return timeline


def _halved(timeline: Timeline, index: int) -> Timeline | None:
    """With one entry half as long; None if that has no duration, or is short enough."""
    entry = timeline[index]
    if entry.lasts is None or entry.lasts / 2 < _SHORTEST:
        return None
    shorter = entry.model_copy(update={"lasts": round(entry.lasts / 2, 3)})
    return [*timeline[:index], shorter, *timeline[index + 1 :]]
