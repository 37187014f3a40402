"""The expectations of a scenario, judged by what was measured."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from testbed.analysis.faults import FaultRecord
from testbed.analysis.measurements import Measurements, Metrics, Scope
from testbed.core.registry import recorded_name
from testbed.core.units import readable
from testbed.schema.expectation import Expectation, State
from testbed.schema.metric import unit_of
from testbed.schema.scenario import Scenario


@dataclass(frozen=True)
class Judgement:
    """What was expected of a metric, or of the ``state`` of a node, and its value.

    ``window`` and ``node`` name the part of the run, None for the whole run and for all nodes.
    """

    metric: str
    window: str | None
    node: str | None
    expected: str
    value: float | str | None
    held: bool
    unit: str = ""

    @property
    def subject(self) -> str:
        """The metric and the part of the run, for people."""
        node = "" if self.node is None else f" of {self.node}"
        window = "" if self.window is None else f" {self.window}"
        return f"{self.metric}{node}{window}"

    def __str__(self) -> str:
        value = "nothing to measure" if self.value is None else self.value
        said = value if isinstance(value, str) else readable(value, self.unit)
        return f"{self.subject}: expected {self.expected}, was {said}"


def judge(scenario: Scenario, measurements: Measurements, faults: Sequence[FaultRecord]) -> Iterator[Judgement]:
    """A judgement for each expected bound and state, in the order of the file."""
    nodes, records = list(scenario.topology.nodes), {fault.name: fault for fault in faults}
    for expectation in scenario.expectations:
        for node in expectation.subjects(nodes):
            metrics = _metrics(expectation, node, measurements, records)
            for metric, bound in expectation.bounds.items():
                name, value = recorded_name(metric), metrics.get(recorded_name(metric))
                held, unit = bound.holds(value), unit_of(metric)
                yield Judgement(name, expectation.window, node, bound.written, value, held, unit)
        for node, expected in expectation.states.items():
            state = measurements.state(node)
            yield Judgement("state", None, node, expected, state, _is(state, expected))


def _metrics(
    expectation: Expectation, node: str | None, measurements: Measurements, faults: Mapping[str, FaultRecord]
) -> Metrics:
    """The metrics of the expectation's part of the run; none if the run ended before that part."""
    nodes = None if node is None else {node}
    if expectation.window is None:
        return measurements.metrics(Scope(nodes=nodes))
    begin, end = _times(expectation, faults)
    if begin is None or begin >= min(end, measurements.duration):
        return {}
    return measurements.metrics(Scope(begin, end, nodes))


def _times(expectation: Expectation, faults: Mapping[str, FaultRecord]) -> tuple[float | None, float]:
    """When a window begins (None if it never does) and ends."""
    if expectation.during is not None:
        fault = faults[expectation.during]
        return fault.began, math.inf if fault.ended is None else fault.ended
    if expectation.after is not None:
        over = faults[expectation.after].over
        return over, math.inf if over is None or expectation.within is None else over + expectation.within
    return expectation.begin or 0.0, math.inf if expectation.end is None else expectation.end


def _is(state: str, expected: State) -> bool:
    """Whether ``state`` is the expected one; every node that does not run has exited."""
    return state == expected or (expected == "exited" and state != "running")
