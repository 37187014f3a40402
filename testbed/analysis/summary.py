"""The verdict on a run and the numbers behind it: what ``summary.json`` says."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from testbed.analysis.comparison.changes import Comparison
from testbed.analysis.distributions import wilson_interval
from testbed.analysis.faults import FaultRecord, fault_records
from testbed.analysis.measurements import Measurements, Metrics
from testbed.analysis.metrics.groups import GroupAccuracy, accuracy_by_label, accuracy_by_scorer
from testbed.analysis.nodes import DeviceSpeed, node_figures
from testbed.analysis.queues.figures import ExpectedLoad, QueueFigures, queue_figures
from testbed.analysis.queues.replay import replayed_latency
from testbed.analysis.recorded import RunFiles, whole_run
from testbed.analysis.verdict.costs import wrong_costs
from testbed.analysis.verdict.exits import EXIT_CODES, Verdict, outcome
from testbed.analysis.verdict.fidelity import Fidelity
from testbed.analysis.verdict.invariants import broken_invariants
from testbed.analysis.verdict.judgement import Judgement, judge
from testbed.schema.scenario import Scenario


@dataclass
class StageTime:
    """The duration of a stage of a run and of each of its steps, in seconds."""

    seconds: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """The outcome of a run."""

    scenario: Scenario
    run: str
    directory: Path
    measurements: Measurements
    fidelity: Fidelity
    stages: dict[str, StageTime]
    cut_off: str = ""
    """Why play did not come to its end; empty if it did."""
    comparison: Comparison | None = None
    """The run and its repetitions against the baseline, if there is one."""
    speeds: Mapping[str, DeviceSpeed] = field(default_factory=dict)
    """By node, of those that are emulated as a device."""
    synthetic: tuple[str, ...] = ()
    """The nodes whose models have random weights; if there are any, no answer is judged."""

    @property
    def interrupted(self) -> bool:
        """Whether play did not come to its end."""
        return bool(self.cut_off)

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics of the whole run."""
        return self.measurements.metrics()

    def unit(self, metric: str) -> str:
        """The unit of one of :attr:`metrics`."""
        return self.measurements.known_metrics[metric].traits.unit

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean score; None if no answer was judged."""
        scores = self.measurements.scores.values()
        return wilson_interval(sum(scores), len(scores))

    @cached_property
    def accuracy_by(self) -> dict[str, dict[str, GroupAccuracy]]:
        """The accuracy by ``label`` of the question, and by ``scorer``."""
        return {"label": accuracy_by_label(self.measurements), "scorer": accuracy_by_scorer(self.measurements)}

    @cached_property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """The figures of each node that was ready."""
        nodes = node_figures(self.measurements)
        for name, speed in self.speeds.items():
            if name in nodes:
                nodes[name]["device"] = asdict(speed)
        for name, figures in self.queues.items():
            nodes[name]["queue"] |= figures.as_dict()
        return nodes

    @cached_property
    def faults(self) -> list[FaultRecord]:
        """A record for each entry of the timeline."""
        return list(fault_records(self.scenario.timeline, self.measurements.events))

    @cached_property
    def judgements(self) -> list[Judgement]:
        """A judgement for each expectation."""
        return list(judge(self.scenario, self.measurements, self.faults))

    @cached_property
    def broken(self) -> list[str]:
        """A sentence for each broken invariant."""
        return [*broken_invariants(self.measurements), *wrong_costs(self.measurements, self.scenario.calls)]

    @cached_property
    def queues(self) -> dict[str, QueueFigures]:
        """The queues of the nodes beside theory."""
        return queue_figures(self.measurements, ExpectedLoad.of(self.scenario))

    @property
    def verdict(self) -> Verdict:
        """``interrupted`` if play did not come to its end, else ``invalid`` if the emulation broke."""
        if self.interrupted:
            return "interrupted"
        if self.fidelity.verdict == "invalid":
            return "invalid"
        held = not self.broken and all(judgement.held for judgement in self.judgements)
        return "passed" if held and not self.regressions else "failed"

    @property
    def outcome(self) -> str:
        """The verdict for people."""
        return outcome(self.verdict, bool(self.judgements) or self.comparison is not None)

    @property
    def regressions(self) -> list[str]:
        """A sentence for each metric that is worse than in the baseline."""
        return [] if self.comparison is None else [str(change) for change in self.comparison.regressions]

    @property
    def reasons(self) -> list[str]:
        """Why the run did not pass, as sentences; empty if it did."""
        found = [str(judgement) for judgement in self.judgements if not judgement.held]
        found += self.broken + self.regressions
        if self.fidelity.verdict == "invalid":
            found += self.fidelity.reasons
        return [*found, f"the run did not play to its end: {self.cut_off}"] if self.interrupted else found

    @property
    def exit_code(self) -> int:
        """The exit status of the process."""
        return EXIT_CODES[self.verdict]

    def as_dict(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return {
            "scenario": self.scenario.name,
            "run": self.run,
            "dilation": self.scenario.dilation,
            "verdict": self.verdict,
            "reasons": self.reasons,
            "fidelity": self.fidelity.as_dict(),
            "metrics": {**self.metrics, "accuracy.interval": self.accuracy_interval},
            "traits": {name: metric.traits.as_dict() for name, metric in self.measurements.known_metrics.items()},
            "failed_metrics": self.measurements.failed_metrics,
            "expectations": [asdict(judgement) for judgement in self.judgements],
            "invariants": self.broken,
            "baseline": None if self.comparison is None else self.comparison.as_dict(),
            "faults": [asdict(fault) for fault in self.faults],
            "failures": self.measurements.failures,
            "judged": len(self.measurements.scores),
            "accuracy_by": {
                group: {name: one.as_dict() for name, one in accuracies.items()}
                for group, accuracies in self.accuracy_by.items()
            },
            "synthetic": list(self.synthetic),
            "replay": replayed_latency(self.measurements, self.scenario.topology),
            "nodes": self.nodes,
            "links": self.measurements.traffic,
            "stages": {name: asdict(stage) for name, stage in self.stages.items()},
        }


def load_summary(scenario: Scenario, directory: Path) -> Summary:
    """The summary of a run of ``scenario`` that another process has played; raises SpecError if it is not whole."""
    with whole_run(directory):
        run = RunFiles.load(directory)
        written, measured = run.summary, run.measured
        return Summary(
            scenario.model_copy(update={"dilation": written["dilation"]}),
            written["run"],
            directory,
            replace(measured, metric_files=scenario.metric_files, nodes=scenario.topology.nodes, slo=scenario.slo),
            Fidelity.of(written["fidelity"]),
            {name: StageTime(**stage) for name, stage in written["stages"].items()},
            written["verdict"] == "interrupted",
            speeds={name: DeviceSpeed(**node["device"]) for name, node in written["nodes"].items() if "device" in node},
            synthetic=tuple(written["synthetic"]),
        )
