"""The events of a run, indexed once, and the parts of a run that a metric can be asked of.

Times are seconds since the beginning of play. The latency of a prompt is the time from its arrival at its owner to its
answer. A prompt belongs to its owner and to the time at which the host handed it over, whenever it ended; every other
event belongs to the node and the time at which it happened.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from testbed.analysis.events import HOST, Event
from testbed.analysis.spans import JobSpan, NodeQueue, node_of
from testbed.core.registry import recorded_name
from testbed.schema.metric import METRICS, Metric, metrics
from testbed.schema.network.node import Node
from testbed.schema.slo import ServiceLevel

Metrics = dict[str, float | None]
"""Values of metrics by name; None where there was nothing to compute from, or the metric failed."""


Steps = Sequence[tuple[float, int]]
"""Changes of a queue's length: their times in seconds of play, in order, and by how many jobs."""


@dataclass(frozen=True)
class QueueLength:
    """The mean over time and the maximum, in jobs."""

    mean: float
    max: int

    @classmethod
    def of(cls, steps: Steps, begin: float, end: float) -> "QueueLength":
        """The length from ``begin`` until ``end``, in seconds of play."""
        length, area, longest = 0, 0.0, 0
        for (now, change), (then, _) in pairwise([*steps, (math.inf, 0)]):
            length += change
            if now <= end and then > begin:
                longest = max(longest, length)
                area += length * (min(then, end) - max(now, begin))
        return cls(area / (end - begin) if end > begin else 0.0, longest)


_READING: Final = 2.5  # seconds of play that may be between a reading and the time that it stands for


def joules_between(readings: Sequence[tuple[float, float]], begin: float, end: float) -> float | None:
    """Joules from ``begin`` to ``end``, interpolated; None where no reading is near one of the two."""
    times, joules = [t for t, _ in readings], [taken for _, taken in readings]
    if not times or begin < times[0] - _READING or end > times[-1] + _READING:
        return None
    first, last = np.interp([begin, end], times, joules)
    return float(last - first)


@dataclass(frozen=True)
class Scope:
    """A part of a run: from ``begin`` until before ``end``, in seconds of play, of ``nodes``, or of all if None."""

    begin: float = -math.inf
    end: float = math.inf
    nodes: Set[str] | None = None

    def has(self, node: str) -> bool:
        """Whether the part includes ``node``."""
        return self.nodes is None or node in self.nodes

    def covers(self, t: float, node: str) -> bool:
        """Whether the part includes an event of ``node`` at ``t``."""
        return self.begin <= t < self.end and self.has(node)

    def suits(self, metric: Metric) -> bool:
        """Whether ``metric`` can be asked of the part."""
        all_play = (self.begin, self.end) == (-math.inf, math.inf)
        return (metric.of_window or all_play) and (metric.of_node or self.nodes is None)


WHOLE: Final = Scope()


@dataclass
class _Index:
    """Events by kind, and what one pass over them pairs: stays of jobs, and changes of each queue's length."""

    by_kind: defaultdict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    of_node: defaultdict[tuple[str, str], list[Event]] = field(default_factory=lambda: defaultdict(list))
    jobs: list[JobSpan] = field(default_factory=list)
    steps: defaultdict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    _queues: dict[str, NodeQueue] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Take in the next event."""
        self.by_kind[event["event"]].append(event)
        self.of_node[event["event"], event["node"]].append(event)
        node, t = node_of(event), event["t"]
        if node == HOST:
            return
        queue = self._queues.setdefault(node, NodeQueue(self.jobs))
        before = len(queue)
        queue.apply(event)
        if event["event"] == "ready" and t <= 0:
            self.steps[node] = [(0.0, 0)]
        elif len(queue) != before or event["event"] in ("ready", "exited"):
            self.steps[node].append((t, len(queue) - before))


@dataclass(frozen=True)
class Measurements:
    """The events of a run in the order of time, and the peak of each node's memory in bytes.

    ``metric_files`` are metrics that are ``FILE.py:NAME``, which are evaluated besides those of installed packages.
    ``nodes`` are those of the topology, by name; ``slo`` has the objectives of answers, if there are any.
    """

    events: Sequence[Event]
    memory_peaks: dict[str, int]
    metric_files: Sequence[str] = ()
    nodes: Mapping[str, Node] = field(default_factory=dict)
    slo: ServiceLevel | None = None
    energy: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """By node with a power sensor, what was read: seconds of play, and joules since the first reading."""

    def of(self, kind: str, scope: Scope = WHOLE) -> list[Event]:
        """The events of one kind in a part of the run."""
        known = self._index.by_kind.get(kind, [])
        if scope.nodes is not None and len(scope.nodes) == 1:
            known = self._index.of_node.get((kind, next(iter(scope.nodes))), [])
        return [event for event in known if scope.covers(event["t"], event["node"])]

    def metrics(self, scope: Scope = WHOLE) -> Metrics:
        """The metrics of a part of the run; of those that cannot be asked of such a part, None."""
        return {name: value for name, (value, _) in self._evaluated(scope).items()}

    @cached_property
    def failed_metrics(self) -> dict[str, str]:
        """Why metrics have no value for the whole run, of those that failed."""
        _, broken = metrics()
        failed = {name: reason for name, (_, reason) in self._evaluated(WHOLE).items() if reason is not None}
        return {**broken, **failed}

    def _evaluated(self, scope: Scope) -> dict[str, tuple[float | None, str | None]]:
        part = Part(self, scope)
        return {
            name: metric(part) if scope.suits(metric) else (None, None) for name, metric in self.known_metrics.items()
        }

    @cached_property
    def known_metrics(self) -> dict[str, Metric]:
        """The metrics that are evaluated, by the names that results have them under."""
        installed, _ = metrics()
        return {**installed, **{recorded_name(name): METRICS.get(name) for name in self.metric_files}}

    @cached_property
    def _index(self) -> _Index:
        index = _Index()
        for event in self.events:
            index.add(event)
        return index

    @property
    def jobs(self) -> list[JobSpan]:
        """Every stay of a job in a queue, in the order of arrival."""
        return self._index.jobs

    @cached_property
    def last_calls(self) -> dict[str, JobSpan]:
        """By prompt that was answered, the call that ended last before the answer: the one that wrote it."""
        found: dict[str, JobSpan] = {}
        for end, job in sorted(
            ((job.ended, job) for job in self.jobs if job.text is not None and job.ended is not None),
            key=lambda ended: ended[0],
        ):
            if job.prompt in self.answers and end <= self.answers[job.prompt]["t"]:
                found[job.prompt] = job
        return found

    @cached_property
    def queue_steps(self) -> dict[str, Steps]:
        """The changes of each queue's length, by node. A queue is empty when play begins."""
        return {node: self._index.steps[node] for node in sorted(self._index.steps)}

    def queues(self, scope: Scope = WHOLE) -> dict[str, QueueLength]:
        """The lengths of queues in a part of the run, by node."""
        begin, end = self.span(scope)
        return {node: QueueLength.of(steps, begin, end) for node, steps in self.queue_steps.items() if scope.has(node)}

    @cached_property
    def duration(self) -> float:
        """Seconds from the beginning of play to the last event of any node."""
        last = max((event["t"] for event in self.events if event["node"] != HOST), default=0.0)
        return max(0.0, last)

    def span(self, scope: Scope) -> tuple[float, float]:
        """The seconds of play at which a part begins and ends."""
        return max(0.0, scope.begin), min(self.duration, scope.end)

    @property
    def interrupted(self) -> bool:
        """Whether the run was cut off, so that prompts may be without an end."""
        return bool(self.of("interrupted"))

    @cached_property
    def prompts(self) -> dict[str, Event]:
        """The ``prompt`` events by prompt, in the order in which prompts were handed over."""
        return {event["prompt"]: event for event in self.of("prompt")}

    @cached_property
    def ends(self) -> dict[str, Event]:
        """The event that ended each prompt last: ``answer``, ``failed`` or ``lost``."""
        ended = [*self.of("answer"), *self.of("failed"), *self.of("lost")]
        return {event["prompt"]: event for event in sorted(ended, key=lambda event: event["t"])}

    @cached_property
    def answers(self) -> dict[str, Event]:
        """The ``answer`` events by prompt. A prompt that the host gave up has none, even if its answer came later."""
        lost = {event["prompt"] for event in self.of("lost")}
        return {event["prompt"]: event for event in self.of("answer") if event["prompt"] not in lost}

    @cached_property
    def failures(self) -> dict[str, str]:
        """The reasons of prompts that have no answer."""
        return {event["prompt"]: event["reason"] for event in (*self.of("failed"), *self.of("lost"))}

    @cached_property
    def scores(self) -> dict[str, float]:
        """The scores of answers by prompt, from 0 to 1, by the scorer that counts. Unjudged answers are missing."""
        scored = ((event["prompt"], event["value"]) for event in self.of("score") if event.get("counts", True))
        return {prompt: value for prompt, value in scored if value is not None and prompt in self.answers}

    @cached_property
    def unjudged(self) -> dict[str, str]:
        """Why answers have no score, by prompt."""
        return {
            event["prompt"]: event["reason"]
            for event in self.of("score")
            if event["value"] is None and event["prompt"] in self.answers
        }

    @cached_property
    def arrivals(self) -> dict[str, float]:
        """The times at which prompts came in at their owners."""
        return {event["prompt"]: event["t"] for event in self.of("arrival")}

    @cached_property
    def latencies(self) -> dict[str, float]:
        """Seconds by prompt, of those that were answered."""
        return {prompt: event["t"] - self.arrivals[prompt] for prompt, event in self.answers.items()}

    @cached_property
    def exits(self) -> dict[str, str]:
        """The reasons of exits, of nodes that were not started again."""
        exits: dict[str, str] = {}
        for event in sorted((*self.of("exited"), *self.of("ready")), key=lambda event: event["t"]):
            if event["event"] == "exited":
                exits[event["who"]] = event["reason"]
            else:
                exits.pop(event["node"], None)
        return exits

    def state(self, node: str) -> str:
        """``running``, or the reason of the node's exit."""
        return self.exits.get(node, "running")

    @cached_property
    def traffic(self) -> dict[str, dict[str, int]]:
        """Bytes that each link carried during play, by direction."""
        counts = [event["links"] for event in self.of("traffic")]
        if len(counts) < 2:
            return {}
        first, last = counts[0], counts[-1]
        return {link: {name: last[link][name] - first[link][name] for name in ("up", "down")} for link in last}


@dataclass(frozen=True)
class Part:
    """What a metric is computed from: the events of a run that lie in a scope."""

    run: Measurements
    scope: Scope = WHOLE

    def of(self, kind: str) -> list[Event]:
        """The events of one kind."""
        return self.run.of(kind, self.scope)

    @cached_property
    def prompts(self) -> list[str]:
        """The prompts that were handed over."""
        covered = self.scope.covers
        return [name for name, event in self.run.prompts.items() if covered(event["t"], event["owner"])]

    @cached_property
    def answered(self) -> list[str]:
        """The prompts that have an answer."""
        return [prompt for prompt in self.prompts if prompt in self.run.answers]

    @cached_property
    def latencies(self) -> list[float]:
        """Seconds, of each prompt that has an answer."""
        return [self.run.latencies[prompt] for prompt in self.answered]

    @cached_property
    def scores(self) -> list[float]:
        """From 0 to 1, of each answer that was judged."""
        return [self.run.scores[prompt] for prompt in self.answered if prompt in self.run.scores]

    @cached_property
    def queues(self) -> dict[str, QueueLength]:
        """The lengths of queues by node."""
        return self.run.queues(self.scope)

    @cached_property
    def seconds(self) -> float:
        """The length of this part of play."""
        begin, end = self.run.span(self.scope)
        return max(0.0, end - begin)

    @property
    def memory_peaks(self) -> list[int]:
        """Bytes, of each node."""
        return [peak for node, peak in self.run.memory_peaks.items() if self.scope.has(node)]

    @cached_property
    def joules(self) -> dict[str, float | None]:
        """Energy of each node with a power sensor; None where readings do not cover this part of play."""
        begin, end = self.run.span(self.scope)
        return {
            node: joules_between(readings, begin, end)
            for node, readings in self.run.energy.items()
            if self.scope.has(node)
        }

    @property
    def traffic(self) -> dict[str, dict[str, int]]:
        """Bytes that each link carried during play, by direction; of the whole run alone."""
        return self.run.traffic
