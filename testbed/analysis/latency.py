"""Where the time of each prompt went: its latency along its critical path, split into what it was spent on.

The path is walked from the answer back to the arrival. What ended last before the answer held it up: a job of the
owner's, or a request to a neighbour, from its sending to its response or to the failure that was waited for. Before
that, what ended last before this began; and so on. Of a request, the time in the neighbour's queue and in its model is
queueing and inference, and all the rest, with lost packets and timeouts, is the network's.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.analysis.metrics import Measurements
from testbed.analysis.spans import JobSpan


@dataclass(frozen=True)
class Split:
    """The seconds of one prompt, or of several together.

    ``other`` is the agent's own work, and time in which the owner was down.
    """

    queueing: float = 0.0
    inference: float = 0.0
    network: float = 0.0
    other: float = 0.0

    @property
    def total(self) -> float:
        """The latency."""
        return self.queueing + self.inference + self.network + self.other

    def __add__(self, more: "Split") -> "Split":
        return Split(
            self.queueing + more.queueing,
            self.inference + more.inference,
            self.network + more.network,
            self.other + more.other,
        )

    def __truediv__(self, number: float) -> "Split":
        return Split(self.queueing / number, self.inference / number, self.network / number, self.other / number)


@dataclass(frozen=True)
class _Step:
    """What an owner waited for, from when to when."""

    begin: float
    end: float
    split: Split


def splits(measured: Measurements) -> dict[str, Split]:
    """By prompt, of those that were answered."""
    steps = _steps(measured)
    return {
        prompt: _walk(steps[prompt], measured.arrivals[prompt], event["t"])
        for prompt, event in measured.answers.items()
    }


def mean_split(parts: Iterable[Split]) -> Split:
    """The mean of each part; nothing of none."""
    found = list(parts)
    return sum(found, Split()) / (len(found) or 1)


def _walk(steps: list[_Step], arrival: float, answer: float) -> Split:
    path, now = Split(), answer
    while before := [step for step in steps if arrival <= step.begin < step.end <= now]:
        last = max(before, key=lambda step: step.end)
        path += last.split + Split(other=now - last.end)
        now = last.begin
    return path + Split(other=now - arrival)


def _steps(measured: Measurements) -> defaultdict[str, list[_Step]]:
    """By prompt."""
    stays: defaultdict[str, list[JobSpan]] = defaultdict(list)
    steps: defaultdict[str, list[_Step]] = defaultdict(list)
    for job in measured.jobs:
        stays[job.name].append(job)
        if job.node == job.owner and job.ended is not None:
            steps[job.prompt].append(_own(job, job.ended))
    for job_name, begin, end in _asked(measured):
        prompt = job_name.partition(".")[0]
        steps[prompt].append(_Step(begin, end, _request(stays[job_name], begin, end)))
    return steps


def _own(job: JobSpan, end: float) -> _Step:
    whole = job.enqueued, end
    return _Step(*whole, Split(_overlap(job.queueing(end), whole), _overlap(job.inference(end), whole)))


def _asked(measured: Measurements) -> Iterable[tuple[str, float, float]]:
    """The job, the beginning and the end of every request that its asker waited for, whatever came of it."""
    begins: dict[str, float] = {}
    for event in measured.events:
        job, _, part = event.get("message", "").partition("/")
        match event["event"]:
            case "send" if part == "request":
                begins[job] = event["t"]
            case "receive" if part.startswith("response") and job in begins:
                yield job, begins.pop(job), event["t"]
            case "ask_failed" if job in begins:
                yield job, begins.pop(job), event["t"]


def _request(stays: Iterable[JobSpan], begin: float, end: float) -> Split:
    queueing = sum(_overlap(job.queueing(end), (begin, end)) for job in stays)
    inference = sum(_overlap(job.inference(end), (begin, end)) for job in stays)
    return Split(queueing, inference, network=end - begin - queueing - inference)


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
