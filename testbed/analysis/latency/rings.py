"""What the time of a job in a ring was spent on, walked from its last token back to its first.

    head computes ─ link ─ b waits, computes ─ link ─ c waits, computes ─ link ─ head: the next token

Each stage traces when it has computed a batch, for how long, how long the batch had waited for it, and whose samples
were in it. What lies between the end of one stage and the arrival at the next was spent on the links.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from testbed.analysis.measurements import Measurements

Interval = tuple[float, float]


@dataclass(frozen=True)
class Visit:
    """A batch at a stage: when it arrived, when the stage began to compute it, and when it was done."""

    node: str
    arrived: float
    began: float
    ended: float


@dataclass(frozen=True)
class Stretch:
    """A part of a job's time: ``queueing``, ``inference`` (at ``node``), ``network``, or ``other``."""

    part: str
    begin: float
    end: float
    node: str = ""


class Rings:
    """The visits of all samples of a run."""

    def __init__(self, measured: Measurements) -> None:
        self._visits: defaultdict[int, list[Visit]] = defaultdict(list)
        for event in measured.of("computed"):
            ended, seconds, waited = event["t"], event["seconds"], event.get("waited", 0.0)
            visit = Visit(event["node"], ended - seconds - waited, ended - seconds, ended)
            for sample in event.get("samples", ()):
                self._visits[sample].append(visit)
        self._samples: Mapping[str, Sequence[tuple[float, int]]] = _samples(measured)
        self.broken: Sequence[Interval] = list(_broken(measured))
        """The times in which a ring waited for a lost node, from its last sign of life seen to its closing."""

    def stretches(self, job: str, begin: float, end: float) -> list[Stretch]:
        """The parts of a job's time from ``begin`` to ``end`` on the head, the last first; none of another job."""
        entered = [sample for time, sample in self._samples.get(job, ()) if begin <= time <= end]
        return list(self._walk(self._visits[entered[-1]], begin, end)) if entered else []

    def _walk(self, visits: Sequence[Visit], begin: float, end: float) -> Iterator[Stretch]:
        now = end
        while past := [visit for visit in visits if begin <= visit.began and visit.ended <= now]:
            last = max(past, key=lambda visit: visit.ended)
            arrived = max(begin, last.arrived)
            yield Stretch("network", last.ended, now)
            yield Stretch("inference", last.began, last.ended, last.node)
            yield Stretch("queueing", arrived, last.began)
            now = arrived
            visits = [visit for visit in past if visit.ended <= now]
        yield Stretch("other", begin, now)


def _samples(measured: Measurements) -> Mapping[str, Sequence[tuple[float, int]]]:
    """By job, when it entered its ring, and the number of its sample there."""
    samples: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for event in measured.of("sampled"):
        samples[event["job"]].append((event["t"], event["sample"]))
    return samples


def _broken(measured: Measurements) -> Iterator[Interval]:
    broken: float | None = None
    for event in sorted((*measured.of("ring_broken"), *measured.of("ring_closed")), key=lambda event: event["t"]):
        if event["event"] == "ring_broken":
            broken = event["t"] if broken is None else broken
        elif broken is not None:
            yield broken, event["t"]
            broken = None
    if broken is not None:
        yield broken, measured.duration
