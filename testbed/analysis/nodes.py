"""What the summary of a run says of each node."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from testbed.analysis.measurements import Measurements, Part, Scope
from testbed.analysis.spans import JobSpan


@dataclass(frozen=True)
class DeviceSpeed:
    """The speed of a node that is emulated as a device.

    ``profile`` names the device. ``asked`` is the device's speed with the node's model, ``host`` that of one core of
    the host, both in tokens per second; ``cpus`` is the node's share of a core.
    """

    profile: str
    asked: float
    host: float
    cpus: float


def node_figures(measured: Measurements) -> dict[str, dict[str, Any]]:
    """State, work, queue, memory and measured energy of each node that was ready in play or before it."""
    done: defaultdict[str, list[JobSpan]] = defaultdict(list)
    for job in measured.jobs:
        if job.text is not None:
            done[job.node].append(job)
    return {node: _figures(measured, node, done[node]) for node in measured.queue_steps}


def _figures(measured: Measurements, node: str, done: Sequence[JobSpan]) -> dict[str, Any]:
    part = Part(measured, Scope(nodes={node}))
    queue, ends = part.queues[node], part.of("end")
    return {
        "state": measured.state(node),
        "inferences": len(ends),
        "tokens": sum(event["tokens"] for event in ends),
        "busy_seconds": _busy(part, done),
        "writing_rate": _writing_rate(part),
        "queue": {"mean": queue.mean, "max": queue.max},
        "memory": {"peak": max(part.memory_peaks, default=None)},
        "energy": {"joules": part.joules.get(node)},
    }


def _busy(part: Part, done: Sequence[JobSpan]) -> float:
    """Seconds that a node spent on inferences that are ``done``; of a node in a ring, on its stage."""
    stage: list[float] = [event["seconds"] for event in part.of("computed")]
    if stage:
        return sum(stage)
    spans = [job.inference(part.run.duration) for job in done]
    return sum(end - begin for begin, end in spans)


def _writing_rate(part: Part) -> float | None:
    """Tokens per second, from the first token of each answer to its last; None if no answer had two."""
    first = {event["job"]: event["t"] for event in part.of("first_token")}
    ends = [event for event in part.of("end") if event["job"] in first]
    seconds = sum(end["t"] - first[end["job"]] for end in ends)
    drawn = sum(end["tokens"] + end["stopped"] - 1 for end in ends)  # the end of an answer is drawn, too
    return drawn / seconds if drawn > 0 and seconds > 0 else None
