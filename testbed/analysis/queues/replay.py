"""A replay of the inference times of a run through queues with no network between them, or an ideal one.

The published runs of gossip Mixture-of-Agents were made this way (Mitra, Kaswan, Ulukus, arXiv 2412.21200): inferences
were timed one after the other, and latencies computed from FCFS queues with no time between them. A run on real links
beside its own replay shows what such a model leaves out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heappop, heappush
from itertools import count
from statistics import fmean

from testbed.analysis.measurements import Measurements
from testbed.analysis.queues.inferences import inferences
from testbed.schema.network.topology import Topology

Delay = Callable[[str, str], float]
"""The seconds that a message takes from one node to another."""


@dataclass(frozen=True)
class Work:
    """One inference: its node, and its duration in seconds."""

    node: str
    seconds: float


@dataclass(frozen=True)
class Course:
    """A prompt: its arrival at its owner, in seconds of play, and the inferences of each layer.

    The inferences of a layer begin together, once the owner has all responses of the layer before.
    """

    prompt: str
    owner: str
    arrival: float
    layers: Sequence[Sequence[Work]]


@dataclass(frozen=True)
class Turn:
    """One inference in its queue. Times are in seconds; the owner has the response at ``returned``."""

    prompt: str
    layer: int
    node: str
    entered: float
    started: float
    ended: float
    returned: float


def no_delay(source: str, target: str) -> float:  # noqa: ARG001
    """The delay without a network: 0 s."""
    return 0.0


def replay(courses: Iterable[Course], delay: Delay = no_delay) -> list[Turn]:
    """The turn of every inference, in the order in which they entered their queues."""
    requests: list[tuple[float, int, Course, int, Work]] = []
    order = count()  # of simultaneous requests, the first one made comes first
    free: defaultdict[str, float] = defaultdict(float)
    turns: list[Turn] = []
    returned: dict[str, list[float]] = {}

    def begin(course: Course, layer: int, now: float) -> None:
        returned[course.prompt] = []
        for work in course.layers[layer]:
            heappush(requests, (now + delay(course.owner, work.node), next(order), course, layer, work))

    for course in courses:
        begin(course, 0, course.arrival)
    while requests:
        now, _, course, layer, work = heappop(requests)
        started = max(now, free[work.node])
        free[work.node] = ended = started + work.seconds
        back = ended + delay(work.node, course.owner)
        turns.append(Turn(course.prompt, layer + 1, work.node, now, started, ended, back))
        responses = returned[course.prompt]
        responses.append(back)
        if len(responses) == len(course.layers[layer]) and layer + 1 < len(course.layers):
            begin(course, layer + 1, max(responses))
    return turns


def latencies(courses: Sequence[Course], delay: Delay = no_delay) -> dict[str, float]:
    """Seconds from each prompt's arrival to its answer."""
    answered: defaultdict[str, float] = defaultdict(float)
    for turn in replay(courses, delay):
        answered[turn.prompt] = max(answered[turn.prompt], turn.returned)
    return {course.prompt: answered[course.prompt] - course.arrival for course in courses}


def courses_of(measured: Measurements) -> list[Course]:
    """The prompts of a run, with the inferences that were done for them."""
    done: defaultdict[str, defaultdict[int, list[Work]]] = defaultdict(lambda: defaultdict(list))
    for inference in inferences(measured.jobs):
        done[inference.prompt][inference.layer].append(Work(inference.node, inference.took))
    return [
        Course(
            prompt, event["owner"], measured.arrivals[prompt], [done[prompt][layer] for layer in sorted(done[prompt])]
        )
        for prompt, event in measured.prompts.items()
        if prompt in done and prompt in measured.arrivals
    ]


def link_delays(topology: Topology) -> Delay:
    """A delay that is the sum of the links' delays on the path, without bandwidth, jitter and loss."""

    @cache
    def delay(source: str, target: str) -> float:
        steps = topology.paths.steps(source, target)
        return sum((link.up if there == link.b else link.down).delay for link, there in steps)

    return delay


def replayed_latency(measured: Measurements, topology: Topology) -> dict[str, float | None]:
    """The mean latency in seconds: measured, replayed with no network, and replayed with the links' delays alone.

    All are None for a run with a ring, where an inference holds the links and the waits of every token, and for one
    with a node of several slots: the replay's queues have one server each.
    """
    several = any(node.slots > 1 for node in topology.agents.values())
    courses = [] if several or measured.of("computed") else courses_of(measured)
    found = {
        "measured": measured.latencies,
        "no_network": latencies(courses),
        "delays_alone": latencies(courses, link_delays(topology)),
    }
    known = measured.latencies.keys() & {course.prompt for course in courses}
    return {name: fmean(by_prompt[prompt] for prompt in known) if known else None for name, by_prompt in found.items()}
