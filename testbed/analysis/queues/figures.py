"""Queues beside theory: how much work a node is asked for, whether its queue grows, and how long it should be.

docs/queues.md explains the figures; each formula names its source.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev
from typing import Any, Final, Literal

from testbed.analysis.measurements import Measurements, Scope
from testbed.analysis.queues.inferences import Inference, inferences
from testbed.analysis.queues.trend import Trend, trend
from testbed.schema.scenario import Scenario

FEWEST: Final = 100
"""The least number of jobs from which the trend of a queue is estimated."""


@dataclass(frozen=True)
class ExpectedLoad:
    """The calls that a pattern asks nodes for.

    ``rate`` is the rate at which prompts arrive at each owner, in prompts per second; None if it is not the same at all
    of them, or not known beforehand. ``calls`` has by node and role
    the number of calls for each prompt that arrives at every owner. ``most`` is the largest number of calls of a
    prompt. ``memoryless`` says that prompts arrive as a Poisson process, which the M/G/1 formula assumes.
    """

    rate: float | None
    calls: Mapping[str, Mapping[str, float]]
    most: int
    memoryless: bool

    @classmethod
    def of(cls, scenario: Scenario) -> "ExpectedLoad | None":
        """What the pattern of a scenario asks for; None if its nodes' queues are no single servers."""
        calls = scenario.pattern.load({node: scenario.neighbours(node) for node in scenario.topology.agents})
        if calls is None or any(node.slots > 1 for node in scenario.topology.agents.values()):
            return None
        arrivals = scenario.workload.arrivals
        rates = arrivals.mean_rates(scenario.owners) or {}
        known = {rates.get(owner) for owner in scenario.owners}
        rate = known.pop() if len(known) == 1 and scenario.workload.spread else None
        most = max((most for _, most in scenario.calls.values()), default=1)
        return cls(rate, calls, most, arrivals.memoryless and scenario.workload.spread)

    def as_dict(self) -> dict[str, Any]:
        """For ``manifest.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Services:
    """The times for which jobs of one role were the first in their queue: mean and standard deviation, in seconds."""

    count: int
    mean: float
    deviation: float

    @classmethod
    def of(cls, held: Sequence[float]) -> "Services":
        """From at least one time."""
        return cls(len(held), fmean(held), pstdev(held))


@dataclass(frozen=True)
class QueueFigures:
    """One node's queue until the last prompt came.

    ``seconds`` is the length of that time, ``mean_under_load`` the mean length of the queue in it. ``services`` are by
    role. Loads are in seconds of work per second: ``offered`` is the work that came, ``utilisation`` the work that the
    scenario's rate of prompts amounts to (None without services of some role), ``theorem`` the load by the paper's
    theorem; both are None without such a rate. ``model`` is the mean length that an M/G/1 queue with the offered work
    has; None if there is none, or arrivals are not Poisson.
    """

    seconds: float
    mean_under_load: float
    services: Mapping[str, Services]
    offered: float
    utilisation: float | None
    theorem: float | None
    model: float | None
    trend: Trend | None

    @property
    def verdict(self) -> Literal["stable", "unstable"] | None:
        """``unstable`` if the queue grew; None if there were too few jobs to tell."""
        if self.trend is None:
            return None
        return "unstable" if self.trend.grows else "stable"

    def as_dict(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return {**asdict(self), "verdict": self.verdict}


def queue_figures(measured: Measurements, load: ExpectedLoad | None) -> dict[str, QueueFigures]:
    """The figures of each node that did an inference; empty if no prompt came, or queues are no single servers."""
    seconds = max((prompt["t"] for prompt in measured.prompts.values()), default=0.0)
    if load is None or not seconds:
        return {}
    done: defaultdict[str, list[Inference]] = defaultdict(list)
    for inference in inferences(measured.jobs):
        done[inference.node].append(inference)
    slowest = max((fmean(inference.took for inference in own) for own in done.values()), default=0.0)
    queues = measured.queues(Scope(end=seconds))
    figures = {}
    for node, own in sorted(done.items()):
        services = _services(own)
        came = sum(inference.enqueued <= seconds for inference in own)
        figures[node] = QueueFigures(
            seconds=seconds,
            mean_under_load=queues[node].mean,
            services=services,
            offered=came / seconds * fmean(inference.held for inference in own),
            utilisation=None if load.rate is None else utilisation(load.rate, load.calls.get(node, {}), services),
            theorem=None if load.rate is None else theorem(load.rate, load.most, slowest),
            model=_model(came / seconds, own) if load.memoryless else None,
            trend=trend(measured.queue_steps[node], seconds) if came >= FEWEST else None,
        )
    return figures


def _model(rate: float, done: Sequence[Inference]) -> float | None:
    first = [inference.held for inference in done if inference.first]
    return mean_queue(rate, first, [inference.held for inference in done if not inference.first])


def _services(done: Sequence[Inference]) -> dict[str, Services]:
    held: defaultdict[str, list[float]] = defaultdict(list)
    for inference in done:
        held[inference.role].append(inference.held)
    return {role: Services.of(seconds) for role, seconds in held.items()}


def utilisation(rate: float, calls: Mapping[str, float], services: Mapping[str, Services]) -> float | None:
    """ρ = λ·E[work of a prompt], in seconds per second; None if calls of some role are expected and none was done.

    A single server is stable if ρ < 1: Kleinrock, Queueing Systems, volume 1, 1975, section 2.1.
    """
    if any(number and role not in services for role, number in calls.items()):
        return None
    return rate * sum(number * services[role].mean for role, number in calls.items() if number)


def theorem(rate: float, most: int, slowest: float) -> float:
    """ρ = α·n·λ with n calls for a prompt; all queues are stable if ρ < 1.

    That is theorem 1 of arXiv 2412.21200, where n = (k + 1)·M + 1. α is the mean inference time; of devices that
    differ, that of the slowest one (remark 1).
    """
    return slowest * most * rate


def mean_queue(rate: float, first: Sequence[float], others: Sequence[float]) -> float | None:
    """The mean length of an M/G/1 queue, the job at work included; None if the queue has no mean.

    The ``first`` job of each busy period can take another time than the ``others``, because it finds the node's CPU
    quota unspent. With m and m₀ jobs that come during another and during a first one, and a and b pairs of them,

        L = (2·m₀ + b + m₀·a / (1 − m)) / (2·(1 − m + m₀)),

    by Welch, Operations Research 12, 1964; if all take the same, that is the formula of Pollaczek and Khinchine.
    """
    first, others = first or others, others or first
    m, m0 = rate * fmean(others), rate * fmean(first)
    if m >= 1:
        return None
    pairs, pairs0 = (rate**2 * fmean(seconds**2 for seconds in held) for held in (others, first))
    return (2 * m0 + pairs0 + m0 * pairs / (1 - m)) / (2 * (1 - m + m0))
