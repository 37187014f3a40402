"""The verdict on a run and the numbers behind it: what ``summary.json`` and ``junit.xml`` say."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal
from xml.etree import ElementTree

from testbed.analysis.comparison.changes import Comparison
from testbed.analysis.faults import FaultRecord, fault_records
from testbed.analysis.metrics import Measurements, Metrics, wilson_interval
from testbed.analysis.queues.figures import QueueFigures, queue_figures
from testbed.analysis.queues.replay import replayed_latency
from testbed.analysis.verdict.fidelity import Fidelity
from testbed.analysis.verdict.invariants import broken_invariants
from testbed.analysis.verdict.judgement import Judgement, judge
from testbed.host.devices import Speed
from testbed.schema.scenario import Scenario

EXIT_CODES: Final = {"passed": 0, "failed": 1, "invalid": 4, "interrupted": 130}
"""What the process ends with, by the verdict."""


@dataclass
class StageTime:
    """How long a stage of a run took, in seconds, and each of its steps."""

    seconds: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What came of a run."""

    scenario: Scenario
    run: str
    directory: Path
    measurements: Measurements
    fidelity: Fidelity
    stages: dict[str, StageTime]
    interrupted: bool = False
    comparison: Comparison | None = None
    """How the run, together with its repetitions, compares with the baseline, if there is one."""
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    """How fast nodes that have the profile of a device were to be."""
    synthetic: tuple[str, ...] = ()
    """The nodes whose models have random weights; with any, no answer is judged."""

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics of the whole run."""
        return self.measurements.metrics()

    @cached_property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """What there is to say of each node."""
        nodes = self.measurements.nodes()
        for name, speed in self.speeds.items():
            device = {"profile": speed.device, "asked": speed.asked, "host": speed.host, "cpus": speed.cpus}
            if name in nodes:  # one that never was ready has nothing to say
                nodes[name]["device"] = device
        for name, figures in self.queues.items():
            nodes[name]["queue"] |= figures.as_dict()
        return nodes

    @cached_property
    def faults(self) -> list[FaultRecord]:
        """What became of each entry of the timeline."""
        return list(fault_records(self.scenario.timeline, self.measurements.events))

    @cached_property
    def judgements(self) -> list[Judgement]:
        """Every expectation, held against what was measured."""
        return list(judge(self.scenario, self.measurements, self.faults))

    @cached_property
    def broken(self) -> list[str]:
        """What did not hold that holds of every run, as sentences."""
        return broken_invariants(self.measurements)

    @cached_property
    def queues(self) -> dict[str, QueueFigures]:
        """The queues of the nodes beside theory."""
        return queue_figures(self.measurements, self.scenario)

    @property
    def verdict(self) -> Literal["passed", "failed", "invalid", "interrupted"]:
        """An interrupted run passes nothing, and one whose emulation broke says nothing."""
        if self.interrupted:
            return "interrupted"
        if self.fidelity.verdict == "invalid":
            return "invalid"
        held = not self.broken and all(judgement.held for judgement in self.judgements)
        return "passed" if held and not self.regressions else "failed"

    @property
    def regressions(self) -> list[str]:
        """What is worse than in the baseline, as sentences."""
        return [] if self.comparison is None else [str(change) for change in self.comparison.regressions]

    @property
    def reasons(self) -> list[str]:
        """Why the run did not pass; nothing if it did."""
        found = [str(judgement) for judgement in self.judgements if not judgement.held]
        found += self.broken + self.regressions
        if self.fidelity.verdict == "invalid":
            found += self.fidelity.reasons
        return [*found, "the run did not play to its end"] if self.interrupted else found

    @property
    def exit_code(self) -> int:
        """What the process ends with."""
        return EXIT_CODES[self.verdict]

    def as_dict(self) -> dict[str, Any]:
        """For ``summary.json``."""
        right = self.measurements.right
        interval = wilson_interval(sum(right.values()), len(right))
        return {
            "scenario": self.scenario.name,
            "run": self.run,
            "dilation": self.scenario.dilation,
            "verdict": self.verdict,
            "reasons": self.reasons,
            "fidelity": self.fidelity.as_dict(),
            "metrics": {**self.metrics, "accuracy.interval": interval},
            "expectations": [asdict(judgement) for judgement in self.judgements],
            "invariants": self.broken,
            "baseline": None if self.comparison is None else self.comparison.as_dict(),
            "faults": [asdict(fault) for fault in self.faults],
            "failures": self.measurements.failures,
            "synthetic": list(self.synthetic),
            "replay": replayed_latency(self.measurements, self.scenario.topology),
            "nodes": self.nodes,
            "links": self.measurements.traffic,
            "stages": {name: asdict(stage) for name, stage in self.stages.items()},
        }


def write_junit(summaries: list[Summary], path: Path) -> None:
    """The expectations of runs, and what holds of every run, as test cases, in the XML that CI systems read."""
    suites = ElementTree.Element("testsuites")
    for summary in summaries:
        _add_suite(suites, summary)
    ElementTree.indent(suites)
    ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _add_suite(suites: ElementTree.Element, summary: Summary) -> None:
    cases = [(judgement.subject, None if judgement.held else str(judgement)) for judgement in summary.judgements]
    cases.append(("invariants", "\n".join(summary.broken) or None))
    if summary.comparison is not None:
        cases.append(("baseline", "\n".join(summary.regressions) or None))
    cases.append(("emulation", "\n".join(summary.fidelity.reasons) if summary.fidelity.verdict == "invalid" else None))
    if summary.interrupted:
        cases.append(("interrupted", "the run did not play to its end"))
    failures = sum(message is not None for _, message in cases)
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name=summary.scenario.name,
        tests=str(len(cases)),
        failures=str(failures),
        time=f"{sum(stage.seconds for stage in summary.stages.values()):.3f}",
    )
    for name, message in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=summary.scenario.name, name=name)
        if message is not None:
            ElementTree.SubElement(case, "failure", message=message)
