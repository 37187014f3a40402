"""What a simulation takes from real runs: service times, handling times, message sizes, and answers.

    arrival ─ local ─► own queue ─ service ─► end ─ local ─► next call, or the answer
           └─ request ─► link ─► peer's queue ─ service ─► end ─ link ─ response ─► owner

A *leg* is the time between two such moments, less what the links take by their own numbers: what a node needs for
handling a message, or for going on with a prompt. All times are drawn again from recorded ones of the same kind.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Final, Literal

from testbed.analysis.events import Event
from testbed.analysis.measurements import Measurements
from testbed.analysis.recorded import RunFiles, run_directories, whole_run
from testbed.analysis.spans import JobSpan
from testbed.core.errors import SpecError
from testbed.schema.network.node import AgentNode, Emulated, ModelNode
from testbed.schema.network.topology import Topology
from testbed.simulation.network import LinkNetwork

LegName = Literal["local", "request", "response"]

_HEADERS: Final = 296  # bytes of a message besides its body, until the links' counters say better
_NO_CALLS: Final = "has no call that came to its end"


@dataclass(frozen=True)
class Kind:
    """What decides how long an inference takes and what it says: the device, the role, and the responses it reads.

    ``device`` is :func:`device_of` its node. ``reads`` counts the completions that the prompt had of the layer before.
    """

    device: str
    role: str
    reads: int

    def __str__(self) -> str:
        return f"a call of the role {self.role!r} that reads {self.reads} responses at {self.device}"


@dataclass(frozen=True)
class Case:
    """A completion that was recorded, and the question that it answered; ``right`` counts right ones that it read."""

    question: Event
    text: str
    prompt_tokens: int
    tokens: int
    stopped: bool
    logprobs: Mapping[str, float] | None
    read: tuple[str, ...]


@dataclass
class Calibration:
    """What runs were measured to take.

    ``services`` are seconds for which a job held its queue, by kind, by whether the owner's own node did it, and by
    whether it found the queue empty. ``legs`` are seconds, by name, role and whether the node had an inference at work.
    ``sizes`` are bytes of bodies by part (request, response) and kind. ``cases`` are completions by kind.
    ``utilisation`` is the highest of any node in any run, in seconds of work per second. ``means`` are the mean service
    times of each run.
    """

    runs: list[str] = field(default_factory=list)
    services: defaultdict[tuple[Kind, bool, bool], list[float]] = field(default_factory=lambda: defaultdict(list))
    legs: defaultdict[tuple[LegName, str, bool], list[float]] = field(default_factory=lambda: defaultdict(list))
    sizes: defaultdict[tuple[str, Kind], list[int]] = field(default_factory=lambda: defaultdict(list))
    cases: defaultdict[Kind, list[Case]] = field(default_factory=lambda: defaultdict(list))
    utilisation: float = 0.0
    means: list[float] = field(default_factory=list)
    overhead: int = _HEADERS

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "Calibration":
        """Read run directories, each of one run or of several; raises SpecError for one that cannot calibrate."""
        calibration, overheads = cls(), list[int]()
        for path in (path for given in paths for path in run_directories(given)):
            with whole_run(path):
                run = RunFiles.load(path)
            _refuse(run)
            calibration.add(run.measured, run.topology)
            calibration.runs.append(str(path))
            overheads += _overhead(run)
        calibration.overhead = round(fmean(overheads)) if overheads else _HEADERS
        return calibration

    def add(self, measured: Measurements, topology: Topology) -> None:
        """Take in what one run measured; raises SpecError if no call of it ended."""
        found = _Reader(self, measured, topology)
        if not found.held:
            raise SpecError.of("--from", f"a run {_NO_CALLS}; name runs whose prompts were answered")
        self.means.append(fmean(found.held))
        end = max((event["t"] for event in measured.prompts.values()), default=0.0)
        if end:
            self.utilisation = max(self.utilisation, *(work / end for work in found.work.values()))

    @property
    def handling(self) -> float:
        """The mean seconds for which idle nodes hold up a message: one sends a response, the other takes it in."""
        idle = [all_ for (name, _, busy), all_ in self.legs.items() if name == "response" and not busy]
        return fmean(chain.from_iterable(idle)) if idle else 0.0

    @property
    def inference(self) -> float:
        """The mean seconds of an inference."""
        return fmean(seconds for all_ in self.services.values() for seconds in all_)

    @property
    def drift(self) -> float:
        """Half the range of the runs' mean service times, as a share of their mean; 0 for one run."""
        return (max(self.means) - min(self.means)) / 2 / fmean(self.means)


def unknown(what: str) -> SpecError:
    """The error that a simulation needs ``what``, and no run that calibrates it has that."""
    return SpecError.of("--from", f"no run has {what}; add a run of this pattern on such nodes")


def device_of(node: AgentNode) -> str:
    """What decides how fast a node is: its model, its CPU share or device, and what else changes an inference."""
    speed = f"a node of the kind {node.kind}"
    if isinstance(node, Emulated):
        speed = str(node.device) if node.cpus is None else f"{node.cpus:g} CPUs"
    cached = ", prefix cache" if isinstance(node, ModelNode) and node.prefix_cache else ""
    return f"{node.model} on {speed}{cached}"


class _Reader:
    """Goes through the events of one run once, and adds what they say to a calibration."""

    def __init__(self, into: Calibration, measured: Measurements, topology: Topology) -> None:
        self._into = into
        self._measured = measured
        self._network = LinkNetwork(topology)
        self._devices = {name: device_of(node) for name, node in topology.agents.items()}
        self._ends = {event["job"]: event for event in measured.of("end")}
        self._messages = _messages(measured)
        self._moments = self._all_moments()
        self._busy = _busy_times(measured.jobs)
        self._by_layer = self._completions_by_layer()
        self.held: list[float] = []
        self.work: defaultdict[str, float] = defaultdict(float)
        free: defaultdict[str, float] = defaultdict(lambda: float("-inf"))
        begun = [job for job in measured.jobs if job.started is not None and job.ended is not None]
        for job in sorted(begun, key=lambda job: job.ended or 0.0):
            self._take(job, free[job.node])
            free[job.node] = job.ended or 0.0
        for prompt, event in measured.answers.items():
            if (cause := self._before(prompt, event["t"])) is not None:
                into.legs["local", "", self._at_work(event["node"], cause)].append(event["t"] - cause)

    def _take(self, job: JobSpan, free: float) -> None:
        end = self._ends.get(job.name)
        if job.text is None or job.ended is None or end is None or job.prompt not in self._measured.prompts:
            return
        into, read = self._into, self._read(job)
        own, kind = job.owner == job.node, Kind(self._devices[job.node], job.role, len(read))
        held = job.ended - max(job.enqueued, free)
        into.services[kind, own, job.enqueued > free].append(held)
        into.cases[kind].append(
            Case(
                self._measured.prompts[job.prompt],
                job.text,
                end["prompt_tokens"],
                end["tokens"],
                end.get("stopped", True),
                end.get("logprobs"),
                read,
            )
        )
        self.held.append(held)
        self.work[job.node] += held
        if own:
            self._add_leg("local", job, self._before(job.prompt, job.enqueued), job.enqueued, job.node)
        else:
            self._take_messages(job, kind)

    def _take_messages(self, job: JobSpan, kind: Kind) -> None:
        """The messages of a call to another node; those of a call that was repeated are left out."""
        sent = self._messages.get((f"{job.name}/request", "send"))
        received = self._messages.get((f"{job.name}/response", "receive"))
        if sent is None or received is None or job.ended is None:
            return
        self._into.sizes["request", kind].append(sent["bytes"])
        self._into.sizes["response", kind].append(received["bytes"])
        there = self._network.idle(job.owner, job.node, sent["bytes"] + _HEADERS)
        back = self._network.idle(job.node, job.owner, received["bytes"] + _HEADERS)
        cause = self._before(job.prompt, sent["t"])
        self._add_leg("request", job, cause, job.enqueued - there, job.node, there)
        self._add_leg("response", job, job.ended, received["t"] - back, job.owner, back)

    def _add_leg(
        self, name: LegName, job: JobSpan, begin: float | None, end: float, at: str, later: float = 0.0
    ) -> None:
        """``at`` is the node that is held up, ``later`` the time after ``begin`` at which it is."""
        if begin is not None:
            self._into.legs[name, job.role, self._at_work(at, begin + later)].append(end - begin)

    def _before(self, prompt: str, t: float) -> float | None:
        """The last moment at which the prompt's owner learnt something, until ``t``."""
        moments = self._moments[prompt]
        place = bisect_right(moments, t)
        return moments[place - 1] if place else None

    def _at_work(self, node: str, t: float) -> bool:
        place = bisect_right(self._busy[node], (t, float("inf"))) - 1
        return place >= 0 and t < self._busy[node][place][1]

    def _all_moments(self) -> defaultdict[str, list[float]]:
        """By prompt, when it arrived and when its owner got each completion, in order."""
        moments: defaultdict[str, list[float]] = defaultdict(list)
        for prompt, t in self._measured.arrivals.items():
            moments[prompt].append(t)
        for job in self._measured.jobs:
            if (got := self._got(job)) is not None:
                moments[job.prompt].append(got)
        for found in moments.values():
            found.sort()
        return moments

    def _completions_by_layer(self) -> defaultdict[tuple[str, int], list[tuple[float, str]]]:
        """By prompt and layer, the completions that the owner got, each with the time."""
        found: defaultdict[tuple[str, int], list[tuple[float, str]]] = defaultdict(list)
        for job in self._measured.jobs:
            if job.text is not None and (got := self._got(job)) is not None:
                found[job.prompt, job.layer].append((got, job.text))
        return found

    def _got(self, job: JobSpan) -> float | None:
        """When the owner got the completion of a job."""
        if job.node == job.owner:
            return job.ended
        received = self._messages.get((f"{job.name}/response", "receive"))
        return None if received is None else received["t"]

    def _read(self, job: JobSpan) -> tuple[str, ...]:
        """The completions of the layer before that the owner had when it made the call."""
        sent = self._messages.get((f"{job.name}/request", "send"))
        made = job.enqueued if sent is None else sent["t"]
        return tuple(text for got, text in self._by_layer[job.prompt, job.layer - 1] if got <= made)


def _messages(measured: Measurements) -> dict[tuple[str, str], Event]:
    """The first event of each message, by its name and ``send`` or ``receive``."""
    found: dict[tuple[str, str], Event] = {}
    for kind in ("send", "receive"):
        for event in measured.of(kind):
            if "bytes" in event:
                found.setdefault((event["message"], kind), event)
    return found


def _busy_times(jobs: Sequence[JobSpan]) -> defaultdict[str, list[tuple[float, float]]]:
    """By node, the intervals in which it had jobs, in order and apart."""
    stays: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for job in jobs:
        if job.ended is not None:
            stays[job.node].append((job.enqueued, job.ended))
    merged: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for node, intervals in stays.items():
        for begin, end in sorted(intervals):
            if merged[node] and begin <= merged[node][-1][1]:
                merged[node][-1] = (merged[node][-1][0], max(end, merged[node][-1][1]))
            else:
                merged[node].append((begin, end))
    return merged


def _refuse(run: RunFiles) -> None:
    """Raise SpecError for a run whose times say nothing about others."""
    verdict, fidelity = run.summary["verdict"], run.summary["fidelity"]["verdict"]
    if fidelity != "valid":
        raise SpecError.of(run.path, f"the emulation of this run is {fidelity}, and only a valid run calibrates")
    if verdict not in ("passed", "failed"):
        raise SpecError.of(run.path, f"this run was {verdict}; only a run that played to its end calibrates")
    if run.summary["faults"]:
        raise SpecError.of(run.path, "this run had faults, which its times show; name runs without a timeline")
    if run.topology.tables:
        raise SpecError.of(run.path, "links of this run follow tables, which its times show; name runs without them")
    if several := [name for name, node in run.topology.agents.items() if node.slots > 1]:
        raise SpecError.of(run.path, f"{several[0]} has several slots, whose times depend on each other; set slots: 1")
    if run.measured.of("computed"):
        raise SpecError.of(run.path, "this run has a ring, whose inferences hold links; rings are not simulated")


def _overhead(run: RunFiles) -> list[int]:
    """The bytes that links carried besides the bodies of messages, for each message and link; none without messages."""
    steps = bodies = 0
    for event in run.measured.of("send"):
        length = len(list(run.topology.paths.steps(event["node"], event["peer"])))
        steps, bodies = steps + length, bodies + length * int(event["bytes"])
    carried = sum(counts["up"] + counts["down"] for counts in run.measured.traffic.values())
    return [max(0, (carried - bodies) // steps)] if steps and carried else []
