"""Queues against theory: how much work a node is asked for, whether its queue grows, and how long it should be.

docs/queues.md says what it all means; each formula names its source.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev
from typing import Any, Final, Literal

from testbed.analysis.metrics import Measurements, Scope
from testbed.analysis.queues.inferences import Inference, Kind, inferences
from testbed.analysis.queues.trend import Trend, trend
from testbed.patterns.gossip_moa import GossipMoa
from testbed.schema.scenario import Scenario

FEWEST: Final = 100
"""Jobs of which the trend of a queue tells anything."""


@dataclass(frozen=True)
class Services:
    """For how long jobs of one kind were first in their queue: how many, and mean and standard deviation in seconds."""

    count: int
    mean: float
    deviation: float

    @classmethod
    def of(cls, held: Sequence[float]) -> "Services":
        """Of at least one."""
        return cls(len(held), fmean(held), pstdev(held))


@dataclass(frozen=True)
class QueueFigures:
    """What is to say of one node's queue while prompts came; None where nothing is.

    ``seconds`` is how long that was, and ``mean_under_load`` the mean queue. ``offered`` is the work that came, in
    seconds a second; ``utilisation`` is what the rate of prompts in the scenario amounts to, and ``theorem`` what the
    paper makes of it. ``model`` is the mean queue that follows from what was offered.
    """

    seconds: float
    mean_under_load: float
    services: Mapping[Kind, Services]
    offered: float
    utilisation: float | None
    theorem: float
    model: float | None
    trend: Trend | None

    @property
    def verdict(self) -> Literal["stable", "unstable"] | None:
        """Whether the queue grew."""
        if self.trend is None:
            return None
        return "unstable" if self.trend.grows else "stable"

    def as_dict(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return {**asdict(self), "verdict": self.verdict}


def queue_figures(measured: Measurements, scenario: Scenario) -> dict[str, QueueFigures]:
    """By node; nothing of nodes that did no inference, nor where no prompt came. A ring is no single server."""
    if not isinstance(scenario.pattern, GossipMoa):
        return {}
    seconds = max((prompt["t"] for prompt in measured.prompts.values()), default=0.0)
    done: defaultdict[str, list[Inference]] = defaultdict(list)
    for inference in inferences(measured.jobs) if seconds else ():
        done[inference.node].append(inference)
    jobs = expected_jobs(scenario.pattern, {node: scenario.neighbours(node) for node in scenario.topology.nodes})
    slowest = max((fmean(inference.took for inference in own) for own in done.values()), default=0.0)
    rate, queues = scenario.workload.arrivals.rate, measured.queues(Scope(end=seconds))
    figures = {}
    for node, own in sorted(done.items()):
        services = _services(own)
        held = [inference.held for inference in own]
        came = sum(inference.enqueued <= seconds for inference in own)
        figures[node] = QueueFigures(
            seconds=seconds,
            mean_under_load=queues[node].mean,
            services=services,
            offered=came / seconds * fmean(held),
            utilisation=utilisation(rate, jobs[node], services),
            theorem=theorem(scenario.pattern, rate, slowest),
            model=mean_queue(
                came / seconds,
                [inference.held for inference in own if inference.first],
                [inference.held for inference in own if not inference.first],
            ),
            trend=trend(measured.queue_steps[node], seconds) if came >= FEWEST else None,
        )
    return figures


def _services(done: Sequence[Inference]) -> dict[Kind, Services]:
    held: defaultdict[Kind, list[float]] = defaultdict(list)
    for inference in done:
        held[inference.kind].append(inference.held)
    return {kind: Services.of(seconds) for kind, seconds in held.items()}


def expected_jobs(pattern: GossipMoa, neighbours: Mapping[str, Sequence[str]]) -> dict[str, dict[Kind, float]]:
    """How many jobs of each kind every node gets, for each prompt that comes to each node.

    Its own prompts bring it a job in each of the M layers, and the aggregation. A prompt of its neighbour j brings it
    one in each layer with the probability k/degⱼ. That is 1 + M + M·Σⱼ k/degⱼ jobs, and in neighbourhoods of one size
    the (k + 1)·M + 1 of arXiv 2412.21200, theorem 1. All but those of the first layer are aggregations.
    """
    layers = pattern.layers
    jobs: dict[str, dict[Kind, float]] = {}
    for node in neighbours:
        asked = sum(min(1.0, pattern.proposers / len(peers)) for peers in neighbours.values() if node in peers)
        first, later = (asked, (layers - 1) * asked) if layers else (0.0, 0.0)
        jobs[node] = {"answer": 1 + first, "aggregation": layers + later}
    return jobs


def utilisation(rate: float, jobs: Mapping[Kind, float], services: Mapping[Kind, Services]) -> float | None:
    """ρ = λ·E[work of a prompt], in seconds a second; None if jobs of some kind are to be expected and none was done.

    A single server is stable if ρ < 1: Kleinrock, Queueing Systems, volume 1, 1975, section 2.1.
    """
    if any(number and kind not in services for kind, number in jobs.items()):
        return None
    return rate * sum(number * services[kind].mean for kind, number in jobs.items() if number)


def theorem(pattern: GossipMoa, rate: float, slowest: float) -> float:
    """ρ = α·((k + 1)·M + 1)·λ, all queues being stable if that is below 1: arXiv 2412.21200, theorem 1 and remark 1.

    α is the mean inference time; of devices that differ, that of the slowest one.
    """
    return slowest * ((pattern.proposers + 1) * pattern.layers + 1) * rate


def mean_queue(rate: float, first: Sequence[float], others: Sequence[float]) -> float | None:
    """The mean length of an M/G/1 queue, the job at work included; None where it has none.

    The ``first`` job of each busy period may take another time than the others, since it finds the node's share of the
    core unspent. With m and m₀ jobs that come during another and during a first one, and a and b pairs of them,

        L = (2·m₀ + b + m₀·a / (1 − m)) / (2·(1 − m + m₀)),

    by Welch, Operations Research 12, 1964; where all take the same, that is Pollaczek's and Khinchine's.
    """
    first, others = first or others, others or first
    m, m0 = rate * fmean(others), rate * fmean(first)
    if m >= 1:
        return None
    pairs, pairs0 = (rate**2 * fmean(seconds**2 for seconds in held) for held in (others, first))
    return (2 * m0 + pairs0 + m0 * pairs / (1 - m)) / (2 * (1 - m + m0))
