"""The numbers of a run, or of a part of it, computed from its events alone.

Times in events are seconds since the beginning of play. A prompt's latency is the time from its arrival at its owner to
its answer. A queue counts the jobs that wait and those at work; its mean is over time, from the beginning of play to
the last thing that a node did. A prompt belongs to the node that owns it and to the time at which it was handed over,
whenever it ended; everything else to where and when it happened.
"""

import math
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import NormalDist, fmean
from typing import Any, Final

from testbed.analysis.events import HOST, Event
from testbed.analysis.spans import JobSpan, job_spans
from testbed.schema.metric import METRICS, Metric
from testbed.workload.prompts.worldfacts import is_correct

Metrics = dict[str, float | None]
"""Values by the names of :data:`testbed.schema.metric.METRICS`; None where there was nothing to compute from."""


@dataclass(frozen=True)
class Scope:
    """A part of a run: the time from ``begin`` until ``end``, in seconds of play, and ``nodes``, or all of them."""

    begin: float = -math.inf
    end: float = math.inf
    nodes: Set[str] | None = None

    def has(self, node: str) -> bool:
        """Whether a node is in it."""
        return self.nodes is None or node in self.nodes

    def covers(self, t: float, node: str) -> bool:
        """Whether what happened to a node at a time is in it."""
        return self.begin <= t < self.end and self.has(node)

    def suits(self, metric: Metric) -> bool:
        """Whether the metric has a value for such a part."""
        of_all_play = (self.begin, self.end) == (-math.inf, math.inf)
        return (metric.of_window or of_all_play) and (metric.of_node or self.nodes is None)


WHOLE: Final = Scope()
"""All of a run."""


@dataclass(frozen=True)
class Measurements:
    """A run's events, and what follows from them. ``memory_peaks`` are bytes by node."""

    events: Sequence[Event]
    memory_peaks: dict[str, int]

    def metrics(self, scope: Scope = WHOLE) -> Metrics:
        """The metrics of a run, or of a part of it."""
        prompts = [name for name, event in self.prompts.items() if scope.covers(event["t"], event["owner"])]
        answered = [name for name in prompts if name in self.answers]
        right = [self.right[name] for name in answered if name in self.right]
        latencies = [self.latencies[name] for name in answered]
        inferences = self._of("end", scope)
        queues = self.queues(scope).values()
        peaks = [peak for node, peak in self.memory_peaks.items() if scope.has(node)]
        begin, end = self._span(scope)
        seconds = max(0.0, end - begin)
        found: Metrics = {
            "accuracy": sum(right) / len(right) if right else None,
            "completed": len(answered) / len(prompts) if prompts else None,
            "prompts": len(prompts),
            "inferences": len(inferences),
            "latency.mean": fmean(latencies) if latencies else None,
            "latency.p50": percentile(latencies, 0.50),
            "latency.p95": percentile(latencies, 0.95),
            "latency.p99": percentile(latencies, 0.99),
            "queue.mean": fmean(queue.mean for queue in queues) if queues else None,
            "queue.max": max((queue.max for queue in queues), default=None),
            "tokens_per_second": sum(event["tokens"] for event in inferences) / seconds if seconds else None,
            "bytes_on_links": sum(link["up"] + link["down"] for link in self.traffic.values()),
            "memory.peak": max(peaks, default=None),
            "retries": len(self._of("retry", scope)),
            "duplicates": len(self._of("duplicate", scope)),
            "late": len(self._of("late", scope)),
            "rejected": len(self._of("rejected", scope)),
            "dropped": len(self._of("dropped", scope)),
            "frames_rejected": len(self._of("frame_rejected", scope)),
        }
        return {name: value if scope.suits(METRICS[name]) else None for name, value in found.items()}

    def nodes(self) -> dict[str, dict[str, Any]]:
        """What there is to say of each node."""
        return {node: self._node(node) for node in self.queue_steps}

    def _node(self, node: str) -> dict[str, Any]:
        alone = Scope(nodes={node})
        metrics = self.metrics(alone)
        return {
            "state": self.state(node),
            "inferences": metrics["inferences"],
            "tokens": sum(event["tokens"] for event in self._of("end", alone)),
            "busy_seconds": self._busy(node),
            "writing_rate": self._writing_rate(alone),
            "queue": {"mean": metrics["queue.mean"], "max": metrics["queue.max"]},
            "memory": {"peak": metrics["memory.peak"]},
        }

    def _busy(self, node: str) -> float:
        """Seconds that a node spent on inference: of a node in a ring, on its stage."""
        stage = [event["seconds"] for event in self._of("computed", Scope(nodes={node}))]
        return sum(stage) if stage else sum(end - start for owner, start, end in self.services if owner == node)

    def _writing_rate(self, scope: Scope) -> float | None:
        """Tokens a second, from the first token of each answer to its last; None if nothing longer was written."""
        first = {event["job"]: event["t"] for event in self._of("first_token", scope)}
        ends = [event for event in self._of("end", scope) if event["job"] in first]
        seconds = sum(end["t"] - first[end["job"]] for end in ends)
        drawn = sum(end["tokens"] + end["stopped"] - 1 for end in ends)  # the end of an answer is drawn, too
        return drawn / seconds if drawn > 0 and seconds > 0 else None

    def state(self, node: str) -> str:
        """How a node stands at the end: ``running``, or how it ended."""
        return self._exits.get(node, "running")

    @cached_property
    def _exits(self) -> dict[str, str]:
        """How nodes ended that were not started again."""
        exits: dict[str, str] = {}
        for event in self.events:
            if event["event"] == "exited":
                exits[event["who"]] = event["reason"]
            elif event["event"] == "ready":
                exits.pop(event["node"], None)
        return exits

    @property
    def interrupted(self) -> bool:
        """Whether the run was cut off, so that prompts may be without an end."""
        return bool(self._of("interrupted"))

    @cached_property
    def prompts(self) -> dict[str, Event]:
        """Every prompt that was handed to its owner."""
        return {event["prompt"]: event for event in self._of("prompt")}

    @cached_property
    def answers(self) -> dict[str, Event]:
        """The answers by prompt. One that came after its prompt was given up is none: a prompt ends once."""
        lost = {event["prompt"] for event in self._of("lost")}
        return {event["prompt"]: event for event in self._of("answer") if event["prompt"] not in lost}

    @cached_property
    def failures(self) -> dict[str, str]:
        """Why prompts have no answer."""
        return {event["prompt"]: event["reason"] for event in (*self._of("failed"), *self._of("lost"))}

    @cached_property
    def right(self) -> dict[str, bool]:
        """Whether each answer is right, by prompt; those of prompts without a truth are not among them."""
        truths = {prompt: event["truth"] for prompt, event in self.prompts.items() if event["truth"] is not None}
        return {
            prompt: is_correct(event["text"], truths[prompt])
            for prompt, event in self.answers.items()
            if prompt in truths
        }

    @cached_property
    def arrivals(self) -> dict[str, float]:
        """When each prompt came in at its owner."""
        return {event["prompt"]: event["t"] for event in self._of("arrival")}

    @cached_property
    def latencies(self) -> dict[str, float]:
        """Seconds by prompt."""
        return {prompt: event["t"] - self.arrivals[prompt] for prompt, event in self.answers.items()}

    @cached_property
    def services(self) -> list[tuple[str, float, float]]:
        """Node, start and end of every inference."""
        starts = {event["job"]: event["t"] for event in self._of("start")}
        return [(event["node"], starts[event["job"]], event["t"]) for event in self._of("end")]

    @cached_property
    def jobs(self) -> list[JobSpan]:
        """Every stay of a job in a queue."""
        return job_spans(self.events)

    @cached_property
    def duration(self) -> float:
        """Seconds from the beginning of play to the last thing that a node did."""
        last = max((event["t"] for event in self.events if event["node"] != HOST), default=0.0)
        return max(0.0, last)

    def queues(self, scope: Scope = WHOLE) -> dict[str, "Queue"]:
        """The queues of nodes."""
        begin, end = self._span(scope)
        return {node: Queue.of(steps, begin, end) for node, steps in self.queue_steps.items() if scope.has(node)}

    def _span(self, scope: Scope) -> tuple[float, float]:
        """The part of play that is meant."""
        return max(0.0, scope.begin), min(self.duration, scope.end)

    @cached_property
    def queue_steps(self) -> dict[str, "Steps"]:
        """How the length of every node's queue changed; it is empty at the beginning of play."""
        changes: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        for event in self.events:
            if event["event"] == "ready" and event["t"] <= 0:
                changes[event["node"]] = [(0.0, 0)]
            elif event["event"] in ("exited", "ready"):
                steps = changes[event["who"] if event["event"] == "exited" else event["node"]]
                steps.append((event["t"], -sum(step for _, step in steps)))  # what waited there went with it
            elif step := {"enqueue": 1, "end": -1, "job_failed": -1, "dropped": -1}.get(event["event"]):
                changes[event["node"]].append((event["t"], step))
        return {node: changes[node] for node in sorted(changes)}

    @cached_property
    def traffic(self) -> dict[str, dict[str, int]]:
        """Bytes that each link carried during play."""
        counts = [event["links"] for event in self._of("traffic")]
        if len(counts) < 2:
            return {}
        first, last = counts[0], counts[-1]
        return {link: {way: last[link][way] - first[link][way] for way in ("up", "down")} for link in last}

    def _of(self, kind: str, scope: Scope = WHOLE) -> list[Event]:
        return [event for event in self._by_kind.get(kind, []) if scope.covers(event["t"], event["node"])]

    @cached_property
    def _by_kind(self) -> dict[str, list[Event]]:
        kinds: defaultdict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            kinds[event["event"]].append(event)
        return kinds


Steps = Sequence[tuple[float, int]]
"""How the length of a queue changed: times and changes, in order."""


@dataclass(frozen=True)
class Queue:
    """The length of a queue: its mean over time and its maximum."""

    mean: float
    max: int

    @classmethod
    def of(cls, steps: Steps, begin: float, end: float) -> "Queue":
        """What it was from ``begin`` until ``end``."""
        length, area, longest = 0, 0.0, 0
        for (now, change), (then, _) in pairwise([*steps, (math.inf, 0)]):
            length += change
            if now <= end and then > begin:
                longest = max(longest, length)
                area += length * (min(then, end) - max(now, begin))
        return cls(area / (end - begin) if end > begin else 0.0, longest)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of the values do not exceed (nearest rank); None of none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float] | None:
    """The score interval of a proportion (Wilson, JASA 22, 1927); None of no trials."""
    if trials == 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    margin = z * math.sqrt(share * (1 - share) / trials + weight / trials / 4) / (1 + weight)
    return max(0.0, centre - margin), min(1.0, centre + margin)
