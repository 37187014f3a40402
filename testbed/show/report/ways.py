"""The way of each prompt: who was asked, what each said, and what decided."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from testbed.analysis.measurements import Measurements
from testbed.analysis.spans import JobSpan


@dataclass(frozen=True)
class WayStep:
    """At ``t`` seconds of play, the node ``who`` did ``what`` and ``said`` something, which was ``right`` if judged."""

    t: float
    who: str
    what: str
    said: str
    right: bool | None = None


def ways(measured: Measurements) -> Mapping[str, Sequence[WayStep]]:
    """The steps of each prompt in the order of time, of prompts with several calls or a decision."""
    found: defaultdict[str, list[WayStep]] = defaultdict(list)
    for prompt, step in (*_calls(measured), *_decisions(measured), *_delegations(measured)):
        found[prompt].append(step)
    return {prompt: sorted(steps, key=lambda step: step.t) for prompt, steps in found.items() if len(steps) > 1}


def _calls(measured: Measurements) -> Iterator[tuple[str, WayStep]]:
    right = {event["job"]: event["value"] == 1 for event in measured.of("opinion") if event["value"] is not None}
    for job in measured.jobs:
        if job.prompt in measured.prompts and job.ended is not None:
            said = "no answer" if job.text is None else job.text
            yield job.prompt, WayStep(job.ended, job.node, _named(job), said, right.get(job.name))


def _named(job: JobSpan) -> str:
    return f"{job.role or 'call'} in layer {job.layer}"


def _decisions(measured: Measurements) -> Iterator[tuple[str, WayStep]]:
    for event in measured.of("decision"):
        target = "decides" if event["to"] == event["from"] else f"to {event['to']}"
        numbers = [f"{name} {event[name]:.3g}" for name in ("score", "threshold") if event[name] is not None]
        why = ", ".join(filter(None, [event["reason"], *numbers]))
        yield event["prompt"], WayStep(event["t"], event["from"], target, why)


def _delegations(measured: Measurements) -> Iterator[tuple[str, WayStep]]:
    for event in measured.of("delegation"):
        yield event["prompt"], WayStep(event["t"], event["node"], "takes over", f"from {event['visited'][-1]}")
