"""The latency of each prompt, broken down into what the time was spent on.

The critical path of a prompt is walked from its answer back to its arrival. What ended last before the answer delayed
it: a job of the owner, or a request to a peer, from its sending to its response or to the failure that was waited for.
The walk goes on with what ended last before that began. The time that a request's job spent in the peer's queue and
model counts as queueing and inference, the rest of an answered request as the network's, and the rest of a failed one
as lost. Within a job of a ring the walk goes on from stage to stage (:mod:`testbed.analysis.latency.rings`).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields

from testbed.analysis.latency.rings import Rings, Stretch
from testbed.analysis.measurements import Measurements
from testbed.analysis.spans import JobSpan, RequestSpan, request_spans


@dataclass(frozen=True)
class Breakdown:
    """Seconds of one prompt, or of several together.

    ``lost`` is what was waited for a neighbour that did not answer, or for a ring to close again. ``other`` is the
    agent's own work, and time in which the owner was down.
    """

    queueing: float = 0.0
    inference: float = 0.0
    network: float = 0.0
    lost: float = 0.0
    other: float = 0.0

    @property
    def total(self) -> float:
        """The latency, in seconds."""
        return float(sum(astuple(self)))

    def __add__(self, more: "Breakdown") -> "Breakdown":
        return Breakdown(*(one + other for one, other in zip(astuple(self), astuple(more), strict=True)))

    def __truediv__(self, number: float) -> "Breakdown":
        return Breakdown(*(part / number for part in astuple(self)))


@dataclass(frozen=True)
class _Step:
    """One thing that an owner waited for."""

    begin: float
    end: float
    spent: Breakdown


def breakdowns(measured: Measurements) -> dict[str, Breakdown]:
    """By prompt, of those that were answered."""
    steps = _steps(measured)
    return {
        prompt: _walk(steps[prompt], measured.arrivals[prompt], event["t"])
        for prompt, event in measured.answers.items()
    }


def mean_breakdown(parts: Iterable[Breakdown]) -> Breakdown:
    """The mean of each part; all zeros for no parts."""
    found = list(parts)
    return sum(found, Breakdown()) / (len(found) or 1)


def _walk(steps: list[_Step], arrival: float, answer: float) -> Breakdown:
    path, now = Breakdown(), answer
    while before := [step for step in steps if arrival <= step.begin < step.end <= now]:
        last = max(before, key=lambda step: step.end)
        path += last.spent + Breakdown(other=now - last.end)
        now = last.begin
    return path + Breakdown(other=now - arrival)


def _steps(measured: Measurements) -> defaultdict[str, list[_Step]]:
    """What the owner of each prompt waited for, by prompt."""
    stays: defaultdict[str, list[JobSpan]] = defaultdict(list)
    steps: defaultdict[str, list[_Step]] = defaultdict(list)
    rings = Rings(measured)
    for job in measured.jobs:
        stays[job.name].append(job)
        if job.node == job.owner and job.ended is not None:
            steps[job.prompt].append(_own(job, job.ended, rings))
    for request in request_spans(measured.events):
        steps[request.prompt].append(_Step(request.begin, request.end, _request(stays[request.job], request)))
    return steps


def _own(job: JobSpan, end: float, rings: Rings) -> _Step:
    whole = job.enqueued, end
    begin, ended = job.inference(end)
    stretches = rings.stretches(job.name, begin, ended)
    working = _in_ring(stretches, rings.broken) if stretches else Breakdown(inference=_overlap((begin, ended), whole))
    return _Step(*whole, Breakdown(queueing=_overlap(job.queueing(end), whole)) + working)


def _in_ring(stretches: Iterable[Stretch], broken: Sequence[tuple[float, float]]) -> Breakdown:
    """The sum of a job's parts. What was waited for until a broken ring was closed again counts as lost."""
    spent = dict.fromkeys((field.name for field in fields(Breakdown)), 0.0)
    for one in stretches:
        lost = 0.0
        if one.part in ("network", "queueing"):
            ends = [min(end, one.end) for begin, end in broken if begin < one.end and one.begin < end]
            lost = max(ends, default=one.begin) - one.begin
        spent["lost"] += lost
        spent[one.part] += one.end - one.begin - lost
    return Breakdown(**spent)


def _request(stays: Iterable[JobSpan], request: RequestSpan) -> Breakdown:
    whole = request.begin, request.end
    queueing = sum(_overlap(job.queueing(request.end), whole) for job in stays)
    inference = sum(_overlap(job.inference(request.end), whole) for job in stays)
    rest = request.end - request.begin - queueing - inference
    return Breakdown(queueing, inference, **{"lost" if request.failed else "network": rest})


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
