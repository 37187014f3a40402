"""Metrics of what asking several nodes, or one of them several times, changes: of prompts with several answers."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from testbed.analysis.events import Event
from testbed.analysis.measurements import Part
from testbed.schema.metric import metric


@metric("%", counted=True, rank=50)
def agreement(part: Part) -> float | None:
    """Mean share of a prompt's first round of answers that say the same as most of them."""
    rounds = [first for opinions in _opinions(part).values() if len(first := _first_round(opinions)) > 1]
    shares = [Counter(event["choice"] for event in first).most_common(1)[0][1] / len(first) for first in rounds]
    return fmean(shares) if shares else None


@metric("%", "higher", counted=True, rank=51)
def oracle(part: Part) -> float | None:
    """Share of prompts for which any of the answers was right, those that were not chosen included."""
    best = [max(event["value"] for event in opinions) for opinions in _judged(part).values()]
    return fmean(value == 1 for value in best) if best else None


@metric("%", "higher", counted=True, rank=52)
def flips_right(part: Part) -> float | None:
    """Share of prompts whose owner's own first answer was wrong, and which ended with a right one."""
    return _flips(part, before=False)


@metric("%", "lower", counted=True, rank=53)
def flips_wrong(part: Part) -> float | None:
    """Share of prompts whose owner's own first answer was right, and which ended with a wrong one."""
    return _flips(part, before=True)


@metric(better="lower", counted=True, rank=54)
def exposures(part: Part) -> int | None:
    """Number of secrets that left their tier verbatim; None where the pattern watched no text for them."""
    sent = part.of("disclosure")
    return sum(event["exposed"] for event in sent) if sent else None


def _flips(part: Part, *, before: bool) -> float | None:
    """The share of prompts that turned: right ``before``, by the owner alone, and wrong in the end; or the reverse."""
    flipped = []
    for prompt, opinions in _judged(part).items():
        owner = part.run.prompts[prompt]["owner"]
        own = [event for event in _first_round(opinions) if event["by"] == owner]
        if own and prompt in part.run.scores:
            was, is_now = own[0]["value"] == 1, part.run.scores[prompt] == 1
            flipped.append((was, is_now) == (before, not before))
    return fmean(flipped) if flipped else None


def _opinions(part: Part) -> dict[str, list[Event]]:
    """The ``opinion`` events of each prompt, in the order of time."""
    opinions: dict[str, list[Event]] = {prompt: [] for prompt in part.prompts}
    for event in part.run.of("opinion"):
        if event["prompt"] in opinions:
            opinions[event["prompt"]].append(event)
    return {prompt: events for prompt, events in opinions.items() if events}


def _judged(part: Part) -> dict[str, list[Event]]:
    """The same of prompts whose answers have scores."""
    found = _opinions(part).items()
    return {prompt: events for prompt, events in found if all(event["value"] is not None for event in events)}


def _first_round(opinions: Sequence[Event]) -> list[Event]:
    """The answers that read the question alone."""
    first = min(event["layer"] for event in opinions)
    return [event for event in opinions if event["layer"] == first]
