"""The numbers of a run, computed from its events alone.

Times in events are seconds since the beginning of play. A prompt's latency is the time from its arrival at its owner to
its answer. A queue counts the jobs that wait and the one at work; its mean is over time, from the beginning of play to
the last thing that a node did.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import NormalDist, fmean
from typing import Any

from testbed.results.events import HOST, Event
from testbed.workload.worldfacts import is_correct

Metrics = dict[str, float | None]
"""Values by the names of :data:`testbed.spec.expectation.METRICS`; None where there was nothing to compute from."""


@dataclass(frozen=True)
class Measurements:
    """A run's events, and what follows from them. ``memory_peaks`` are bytes by node."""

    events: Sequence[Event]
    memory_peaks: dict[str, int]

    def metrics(self) -> Metrics:
        """The metrics of the whole run."""
        latencies = list(self.latencies.values())
        answered = len(self.answers)
        queues = self.queues.values()
        return {
            "accuracy": self.correct / answered if answered else None,
            "completed": answered / len(self.prompts) if self.prompts else None,
            "prompts": len(self.prompts),
            "inferences": len(self._of("end")),
            "latency.mean": fmean(latencies) if latencies else None,
            "latency.p50": percentile(latencies, 0.50),
            "latency.p95": percentile(latencies, 0.95),
            "latency.p99": percentile(latencies, 0.99),
            "queue.mean": fmean(queue.mean for queue in queues) if queues else None,
            "queue.max": max((queue.max for queue in queues), default=None),
            "tokens_per_second": self.tokens / self.duration if self.duration else None,
            "bytes_on_links": sum(link["up"] + link["down"] for link in self.traffic.values()),
            "memory.peak": max(self.memory_peaks.values(), default=None),
            "retries": len(self._of("retry")),
            "duplicates": len(self._of("duplicate")),
            "late": len(self._of("late")),
            "rejected": len(self._of("rejected")),
            "dropped": len(self._of("dropped")),
        }

    def nodes(self) -> dict[str, dict[str, Any]]:
        """What there is to say of each node."""
        return {
            node: {
                "state": self.states.get(node, "ran to the end"),
                "inferences": sum(event["node"] == node for event in self._of("end")),
                "tokens": sum(event["tokens"] for event in self._of("end") if event["node"] == node),
                "busy_seconds": sum(end - start for owner, start, end in self.services if owner == node),
                "queue": {"mean": queue.mean, "max": queue.max},
                "memory": {"peak": self.memory_peaks.get(node)},
            }
            for node, queue in self.queues.items()
        }

    @cached_property
    def states(self) -> dict[str, str]:
        """How the nodes ended that had ended at the end; one that was started again had not."""
        states: dict[str, str] = {}
        for event in self.events:
            if event["event"] == "exited":
                states[event["who"]] = event["reason"]
            elif event["event"] == "ready":
                states.pop(event["node"], None)
        return states

    @property
    def interrupted(self) -> bool:
        """Whether play was cut off before all prompts had ended."""
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
    def correct(self) -> int:
        """How many answers are right."""
        return sum(is_correct(event["text"], self.prompts[prompt]["truth"]) for prompt, event in self.answers.items())

    @cached_property
    def latencies(self) -> dict[str, float]:
        """Seconds by prompt."""
        arrivals = {event["prompt"]: event["t"] for event in self._of("arrival")}
        return {prompt: event["t"] - arrivals[prompt] for prompt, event in self.answers.items()}

    @cached_property
    def services(self) -> list[tuple[str, float, float]]:
        """Node, start and end of every inference."""
        starts = {event["job"]: event["t"] for event in self._of("start")}
        return [(event["node"], starts[event["job"]], event["t"]) for event in self._of("end")]

    @cached_property
    def duration(self) -> float:
        """Seconds from the beginning of play to the last thing that a node did."""
        last = max((event["t"] for event in self.events if event["node"] != HOST), default=0.0)
        return max(0.0, last)

    @cached_property
    def tokens(self) -> int:
        """Tokens that all models wrote."""
        return sum(event["tokens"] for event in self._of("end"))

    @cached_property
    def queues(self) -> dict[str, "Queue"]:
        """The queue of every node."""
        changes: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        for event in self.events:
            if event["event"] == "ready" and event["t"] <= 0:
                changes[event["node"]] = [(0.0, 0)]
            elif event["event"] in ("exited", "ready"):
                steps = changes[event["who"] if event["event"] == "exited" else event["node"]]
                steps.append((event["t"], -sum(step for _, step in steps)))  # what waited there went with it
            elif step := {"enqueue": 1, "end": -1, "job_failed": -1, "dropped": -1}.get(event["event"]):
                changes[event["node"]].append((event["t"], step))
        return {node: Queue.of(changes[node], self.duration) for node in sorted(changes)}

    @cached_property
    def traffic(self) -> dict[str, dict[str, int]]:
        """Bytes that each link carried during play."""
        counts = [event["links"] for event in self._of("traffic")]
        if len(counts) < 2:
            return {}
        first, last = counts[0], counts[-1]
        return {link: {way: last[link][way] - first[link][way] for way in ("up", "down")} for link in last}

    def _of(self, kind: str) -> list[Event]:
        return self._by_kind.get(kind, [])

    @cached_property
    def _by_kind(self) -> dict[str, list[Event]]:
        kinds: defaultdict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            kinds[event["event"]].append(event)
        return kinds


@dataclass(frozen=True)
class Queue:
    """The length of a queue: its mean over time and its maximum."""

    mean: float
    max: int

    @classmethod
    def of(cls, steps: Sequence[tuple[float, int]], end: float) -> "Queue":
        """From the steps of its length, as (time, change) in order, until ``end``."""
        length, area, longest = 0, 0.0, 0
        for (now, change), (then, _) in pairwise([*steps, (end, 0)]):
            length += change
            longest = max(longest, length)
            area += length * (min(then, end) - min(now, end))  # a node may be seen to have ended after its last event
        return cls(area / end if end else 0.0, longest)


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
