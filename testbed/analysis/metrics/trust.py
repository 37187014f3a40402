"""Metrics of runs in which nodes lie: how often they succeed, and how well and how soon patterns exclude them."""

from collections.abc import Callable
from statistics import fmean

from testbed.analysis.events import Event
from testbed.analysis.measurements import Part
from testbed.schema.metric import metric


@metric("%", "lower", counted=True, rank=54)
def asr(part: Part) -> float | None:
    """Attack success rate: share of answered prompts that were lied about and whose answer is a liar's decoy."""
    prompts = set(part.answered)
    attacks = [event["succeeded"] for event in part.run.of("attack") if event["prompt"] in prompts]
    return fmean(attacks) if attacks else None


@metric("%", "higher", counted=True, rank=55)
def exclusion_precision(part: Part) -> float | None:
    """Share of exclusions that met a node which lied in the run."""
    liars, excluded = set(_first_lies(part)), _exclusions(part)
    return fmean(node in liars for _, node in excluded) if excluded else None


@metric("%", "higher", counted=True, rank=56)
def exclusion_recall(part: Part) -> float | None:
    """Share of lies to a prompt whose liar was excluded from that prompt; none where patterns learn no trust."""
    if not (part.run.of("check") or part.run.of("excluded")):
        return None
    prompts = set(part.prompts)
    lies = {(event["prompt"], event["node"]) for event in _lies(part) if event.get("prompt") in prompts}
    return len(lies & _exclusions(part)) / len(lies) if lies else None


@metric("s", "lower", of_window=False, of_node=False, rank=57)
def exclusion_time(part: Part) -> float | None:
    """Longest time from a liar's first lie until it is first excluded; none if one of them never is."""
    return _until_excluded(part, lambda begin, end: end - begin)


@metric("", "lower", of_window=False, of_node=False, rank=58)
def exclusion_prompts(part: Part) -> float | None:
    """The same, in prompts that were handed over in that time."""
    arrivals = [event["t"] for event in part.run.of("prompt")]
    return _until_excluded(part, lambda begin, end: sum(begin <= t <= end for t in arrivals))


@metric("%", "lower", counted=True, rank=59)
def forged(part: Part) -> float | None:
    """Share of requests in another node's name that were taken for its own, and answered."""
    taken = [event["taken"] for event in part.of("forged")]
    return fmean(taken) if taken else None


@metric("%", "lower", counted=True, rank=60)
def foreign_models(part: Part) -> float | None:
    """Share of answers by another model than the topology says that were taken from the node that sent them."""
    taken = [event["taken"] for event in part.of("foreign_model")]
    return fmean(taken) if taken else None


def _until_excluded(part: Part, length: Callable[[float, float], float]) -> float | None:
    """The largest ``length`` of the times from a liar's first lie until its first exclusion after that."""
    found = []
    for liar, begin in _first_lies(part).items():
        ends = [event["t"] for event in part.run.of("excluded") if liar in event["nodes"] and event["t"] >= begin]
        if not ends:
            return None
        found.append(length(begin, min(ends)))
    return max(found, default=None)


def _lies(part: Part) -> list[Event]:
    """All lies of the run."""
    return [event for event in part.run.of("misbehaved") if event["how"] == "lie"]


def _first_lies(part: Part) -> dict[str, float]:
    """When each liar of the run lied first."""
    first: dict[str, float] = {}
    for event in _lies(part):
        first.setdefault(event["node"], event["t"])
    return first


def _exclusions(part: Part) -> set[tuple[str, str]]:
    """Each prompt and node that was excluded from it."""
    prompts = set(part.prompts)
    found = [event for event in part.run.of("excluded") if event["prompt"] in prompts]
    return {(event["prompt"], node) for event in found for node in event["nodes"]}
