"""Runs of gossip Mixture-of-Agents that were never played: arrivals and inference times are drawn, so that the load is
known, and take their turns in queues that are first come, first served."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from testbed.analysis.events import HOST, Event
from testbed.analysis.measurements import Measurements
from testbed.analysis.queues.replay import Course, Work, replay
from testbed.schema.scenario import Scenario

NODES = "abcd"
DEVIATION = 0.3  # of inference times, as a share of their mean


@dataclass(frozen=True)
class Gossip:
    """What is simulated: ``layers`` and ``proposers`` as in the pattern, ``rate`` in prompts per second and node.

    ``answer`` and ``aggregation`` are mean seconds, ``slower`` factors of both by node, ``delay`` seconds from any node
    to any other.
    """

    layers: int
    proposers: int
    rate: float
    count: int
    answer: float = 1.0
    aggregation: float = 1.0
    slower: Mapping[str, float] = field(default_factory=dict)
    delay: float = 0.0

    @classmethod
    def at(cls, load: float, layers: int, proposers: int, count: int, delay: float = 0.0) -> "Gossip":
        """Equal nodes that have so much to do."""
        return cls(layers, proposers, load / ((proposers + 1) * layers + 1), count, delay=delay)

    @property
    def scenario(self) -> Scenario:
        """The scenario that a real run of it would have."""
        node = {"model": "zoo/alpha", "cpus": 0.1, "memory": "64MiB"}
        links = [{"endpoints": [name, "s1"]} for name in NODES]
        arrivals = {"rate": f"{self.rate!r}/s"}
        return Scenario.model_validate(
            {
                "name": "simulated",
                "topology": {"name": "t", "nodes": dict.fromkeys(NODES, node), "switches": ["s1"], "links": links},
                "pattern": {"kind": "gossip-moa", "layers": self.layers, "proposers": self.proposers},
                "workload": {"prompts": "worldfacts", "arrivals": arrivals, "count": self.count},
            }
        )

    def courses(self, seed: int) -> list[Course]:
        """The prompts, and what each needs."""
        draw = random.Random(f"gossip {seed}")
        now, courses = 0.0, []
        for number in range(1, self.count + 1):
            now += draw.expovariate(self.rate * len(NODES))
            owner = draw.choice(NODES)
            others = [name for name in NODES if name != owner]
            asked = [[owner, *draw.sample(others, self.proposers)] for _ in range(self.layers)]
            layers = [[self._work(node, layer, draw) for node in who] for layer, who in enumerate([*asked, [owner]])]
            courses.append(Course(f"p{number}", owner, now, layers))
        return courses

    def _work(self, node: str, layer: int, draw: random.Random) -> Work:
        mean = (self.aggregation if layer else self.answer) * self.slower.get(node, 1.0)
        shape = DEVIATION**-2
        return Work(node, draw.gammavariate(shape, mean / shape))

    def play(self, seed: int) -> Measurements:
        """What a run would have left."""
        events = [Event(t=-1.0, node=name, event="ready", load_seconds=1.0) for name in NODES]
        events += self._events(self.courses(seed))
        return Measurements(sorted(events, key=lambda event: event["t"]), {})

    def _events(self, courses: Sequence[Course]) -> Iterator[Event]:
        owners = {course.prompt: course.owner for course in courses}
        for course in courses:
            prompt = Event(t=course.arrival, prompt=course.prompt, text="?")
            yield prompt | Event(node=HOST, event="prompt", owner=course.owner, truth="Rome")
            yield prompt | Event(node=course.owner, event="arrival")
        last = {}
        for turn in replay(courses, lambda source, target: 0.0 if source == target else self.delay):
            owner, job = owners[turn.prompt], f"{turn.prompt}.{turn.layer}@{turn.node}"
            role = "aggregation" if turn.layer > 1 else "answer"
            origin = Event(prompt=turn.prompt, layer=str(turn.layer), role=role, owner=owner)
            yield Event(t=turn.entered, node=turn.node, event="enqueue", job=job) | origin
            yield Event(t=turn.started, node=turn.node, event="start", job=job)
            yield Event(t=turn.ended, node=turn.node, event="end", job=job, tokens=4, prompt_tokens=9, text="Rome")
            if turn.node != owner:
                yield Event(t=turn.entered, node=owner, event="send", message=f"{job}/request")
                yield Event(t=turn.ended, node=turn.node, event="send", message=f"{job}/response")
            last[turn.prompt] = max(last.get(turn.prompt, 0.0), turn.returned)
        for prompt_id, answered in last.items():
            yield Event(t=answered, node=owners[prompt_id], event="answer", prompt=prompt_id, text="Rome, sure")
            yield Event(t=answered, node=HOST, event="score", prompt=prompt_id, scorer="exact", value=1.0)
