"""The latency of each prompt, broken down into what the time was spent on.

The critical path of a prompt is walked from its answer back to its arrival. What ended last before the answer delayed
it: a job of the owner, or a request to a peer, from its sending to its response or to the failure that was waited for.
The walk goes on with what ended last before that began. The time that a request's job spent in the peer's queue and
model counts as queueing and inference; the rest of the request, with lost messages and timeouts, is the network's.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.analysis.measurements import Measurements
from testbed.analysis.spans import JobSpan, RequestSpan, request_spans


@dataclass(frozen=True)
class Breakdown:
    """Seconds of one prompt, or of several together.

    ``other`` is the agent's own work, and time in which the owner was down.
    """

    queueing: float = 0.0
    inference: float = 0.0
    network: float = 0.0
    other: float = 0.0

    @property
    def total(self) -> float:
        """The latency, in seconds."""
        return self.queueing + self.inference + self.network + self.other

    def __add__(self, more: "Breakdown") -> "Breakdown":
        return Breakdown(
            self.queueing + more.queueing,
            self.inference + more.inference,
            self.network + more.network,
            self.other + more.other,
        )

    def __truediv__(self, number: float) -> "Breakdown":
        return Breakdown(self.queueing / number, self.inference / number, self.network / number, self.other / number)


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
    for job in measured.jobs:
        stays[job.name].append(job)
        if job.node == job.owner and job.ended is not None:
            steps[job.prompt].append(_own(job, job.ended))
    for request in request_spans(measured.events):
        steps[request.prompt].append(_Step(request.begin, request.end, _request(stays[request.job], request)))
    return steps


def _own(job: JobSpan, end: float) -> _Step:
    whole = job.enqueued, end
    return _Step(*whole, Breakdown(_overlap(job.queueing(end), whole), _overlap(job.inference(end), whole)))


def _request(stays: Iterable[JobSpan], request: RequestSpan) -> Breakdown:
    whole = request.begin, request.end
    queueing = sum(_overlap(job.queueing(request.end), whole) for job in stays)
    inference = sum(_overlap(job.inference(request.end), whole) for job in stays)
    return Breakdown(queueing, inference, network=request.end - request.begin - queueing - inference)


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
