"""Simulations whose times a test states, on the home mesh."""

# ruff: noqa: ARG002  # what a test states depends on little

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.analysis.measurements import Measurements
from testbed.patterns.participant import Completion
from testbed.schema.scenario import Scenario, load_scenario
from testbed.simulation.calibration import Kind, LegName
from testbed.simulation.simulation import Course
from testbed.workload.prompts.base import Question

PROJECT = Path(__file__).parents[1]


@dataclass
class Stated:
    """Times that a test states. ``services`` are seconds of jobs by name; other jobs take what ``draw`` gives."""

    draw: Callable[[], float] = lambda: 0.1
    services: dict[str, float] = field(default_factory=dict)
    legs: dict[str, float] = field(default_factory=dict)
    texts: Sequence[str] = ("Rome, sure",)

    def service(self, job: str, kind: Kind, own: bool, first: bool) -> float:
        return self.services[job] if self.services else self.draw()

    def leg(self, name: LegName, role: str, busy: bool) -> float:
        return self.legs.get(name, 0.0)

    def size(self, part: str, kind: Kind) -> int:
        return {"request": 1000, "response": 500}[part]

    def stand_in(self, question: Question) -> str:
        return question.text

    def completion(self, kind: Kind, question: Question, stand_in: str, read: Sequence[str]) -> Completion:
        return Completion(self.texts[len(read) % len(self.texts)], 9, 4, True)


class Delays:
    """A network that takes what the replay's takes: a delay for each pair of nodes."""

    def __init__(self, delay: Callable[[str, str], float]) -> None:
        self._delay = delay

    def carry(self, source: str, target: str, size: int, now: float) -> float:
        return now + self._delay(source, target)

    def traffic(self) -> dict[str, dict[str, int]]:
        return {}


def gossip(layers: int = 1, proposers: int = 3, rate: str = "1/s", count: int = 100, **keys: object) -> Scenario:
    """Gossip on the home mesh."""
    assignments = [f"pattern.layers={layers}", f"pattern.proposers={proposers}", f"workload.arrivals.rate={rate}"]
    assignments += [f"workload.count={count}", *(f"{key}={value}" for key, value in keys.items())]
    return load_scenario(PROJECT / "scenarios" / "gossip_moa.yaml", assignments)


def measured(course: Course) -> Measurements:
    return Measurements(sorted(course.events, key=lambda event: event["t"]), {})
