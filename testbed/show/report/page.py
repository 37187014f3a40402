"""The page of one run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from testbed.analysis.faults import FaultRecord
from testbed.analysis.latency.breakdown import Breakdown, breakdowns
from testbed.analysis.recorded import RunFiles, whole_run
from testbed.analysis.verdict.exits import outcome
from testbed.analysis.verdict.judgement import Judgement
from testbed.schema.network.topology import Topology
from testbed.show.axis import ticks
from testbed.show.perfetto import trace_json
from testbed.show.report.composition import PARTS, Composition, composition, spent
from testbed.show.report.lanes import FaultBar, NodeRow, fault_bars, node_rows
from testbed.show.report.links import DirectionRow, direction_rows
from testbed.show.report.prompt_rows import PromptRow, prompt_rows
from testbed.show.report.rendering import quantity, render, write_page
from testbed.show.topologies.svg import draw

REPORT: Final = "report.html"
TRACE: Final = "trace.json"

TONES: Final = {"passed": ("good", "✓"), "failed": ("bad", "✗"), "invalid": ("warn", "!"), "interrupted": ("warn", "!")}
FIDELITY_TONES: Final = {
    "valid": "good",
    "distorted": "warn",
    "invalid": "bad",
    "unmeasured": "quiet",
    "simulated": "quiet",
}


class Figure(NamedTuple):
    """A number for people, with a detail."""

    name: str
    value: str
    detail: str = ""
    tone: str = ""


class Group(NamedTuple):
    """Related figures and their name."""

    name: str
    figures: Sequence[Figure]


def write_report(path: Path) -> None:
    """Write ``report.html`` and ``trace.json`` of a run directory; raises SpecError if the directory is incomplete."""
    with whole_run(path):
        run = RunFiles.load(path)
        page = RunPage(run, run.topology)
        written = render("run.html", page.title, page=page, parts=PARTS)
        trace = trace_json(run.measured, run.faults)
    write_page(path / REPORT, written)
    write_page(path / TRACE, trace)


@dataclass(frozen=True)
class RunPage:
    """The parts of the page of a run, for the template."""

    run: RunFiles
    topology: Topology

    @property
    def title(self) -> str:
        """The title of the window."""
        return f"{self.scenario}: {self.outcome}"

    @property
    def scenario(self) -> str:
        """The name of the scenario."""
        return str(self.run.summary["scenario"])

    @property
    def verdict(self) -> str:
        """The verdict on the run."""
        return str(self.run.summary["verdict"])

    @property
    def outcome(self) -> str:
        """The verdict for people."""
        return outcome(self.verdict, bool(self.run.summary["expectations"] or self.run.summary["baseline"]))

    @property
    def tone(self) -> tuple[str, str]:
        """The CSS class and the sign of the verdict."""
        return TONES[self.verdict]

    @property
    def reasons(self) -> list[str]:
        """Why the run did not pass, as sentences."""
        return list(self.run.summary["reasons"])

    @property
    def facts(self) -> list[str]:
        """The run's identity, time, seed and size."""
        manifest, metrics, dilation = self.run.manifest, self.run.summary["metrics"], self.run.summary["dilation"]
        began = datetime.fromisoformat(manifest["play_began"])
        slower = [] if dilation == 1 else [f"time ran {dilation:g} times slower"]
        return [
            f"run {self.run.summary['run']}",
            f"{began:%-d %B %Y, %H:%M} UTC",
            f"seed {manifest['seed']}",
            f"{len(self.topology.nodes)} nodes",
            f"{metrics['prompts']} prompts",
            f"{quantity(self.seconds, 's')} of play",
            *slower,
        ]

    @property
    def headlines(self) -> Iterator[Figure]:
        """The most important numbers."""
        metrics = self.run.summary["metrics"]
        interval = metrics["accuracy.interval"]
        likely = "" if interval is None else "{:.2f} to {:.2f} with 95 %".format(*interval)
        yield Figure("accuracy", self._metric("accuracy"), likely)
        yield Figure("completed", self._metric("completed"), f"of {metrics['prompts']} prompts")
        slower = quantity(metrics["latency.p95"], "s")
        yield Figure("latency", quantity(metrics["latency.mean"], "s"), f"mean; 95 % within {slower}")
        yield Figure("queue", self._metric("queue.mean"), f"mean; most {metrics['queue.max']}")
        yield Figure("tokens per second", self._metric("tokens_per_second"), "all nodes")
        verdict, tone, _ = self.fidelity
        yield Figure("fidelity", verdict, f"{self.run.manifest['links']} links", "" if tone == "good" else tone)

    @property
    def metrics(self) -> list[Figure]:
        """All metrics of the whole run, and the accuracy of its groups."""
        groups = self.run.summary.get("accuracy_by", {}).items()
        return [
            *(Figure(name, self._metric(name)) for name in self.run.traits),
            *(
                Figure(f"accuracy of the {group} {name}", quantity(one["mean"], "%"), f"{one['judged']} answers")
                for group, accuracies in groups
                for name, one in accuracies.items()
            ),
        ]

    def _metric(self, name: str) -> str:
        return quantity(self.run.summary["metrics"][name], self.run.traits[name].unit)

    @property
    def expectations(self) -> Iterator[tuple[str, str, str, bool]]:
        """Subject, expectation, value, and whether the expectation held; last, the invariants."""
        for entry in self.run.summary["expectations"]:
            judgement = Judgement(**entry)
            was = judgement.value
            said = was if isinstance(was, str) else quantity(was, judgement.unit)
            yield judgement.subject, judgement.expected, said, judgement.held
        broken = len(self.run.summary["invariants"])
        yield "invariants", "all hold", f"{broken} broken" if broken else "all hold", not broken

    @property
    def seconds(self) -> float:
        """The duration of play."""
        return self.run.measured.duration

    @property
    def ticks(self) -> list[float]:
        """The marks of the axis of time."""
        return ticks(self.seconds)

    def percent(self, seconds: float) -> float:
        """``seconds`` in percent of the axis."""
        return round(100 * seconds / self.seconds, 3) if self.seconds else 0.0

    @property
    def rows(self) -> list[NodeRow]:
        """The nodes' lanes."""
        return node_rows(self.run, self.topology)

    @cached_property
    def bars(self) -> list[FaultBar]:
        """The faults that were in force at some time."""
        return fault_bars(self.run)

    @property
    def faults(self) -> list[FaultRecord]:
        """A record for each entry of the timeline."""
        return self.run.faults

    @cached_property
    def breakdowns(self) -> dict[str, Breakdown]:
        """What each prompt's latency was spent on."""
        return breakdowns(self.run.measured)

    @cached_property
    def composition(self) -> Composition | None:
        """The composition of latencies; None if no prompt was answered."""
        return composition(self.run.measured, self.breakdowns, self.topology.nodes) if self.breakdowns else None

    @property
    def drawing(self) -> Markup:
        """The topology as SVG; the drawing escapes its text."""
        return Markup(draw(self.topology))

    @property
    def directions(self) -> Iterator[DirectionRow]:
        """A row for each direction of each link."""
        return direction_rows(self.run.summary, {link.name: (link.a, link.b) for link in self.topology.resolved_links})

    @cached_property
    def prompts(self) -> list[PromptRow]:
        """A row for each prompt."""
        return list(prompt_rows(self.run.measured, self.breakdowns))

    def spent(self, parts: Breakdown) -> str:
        """The parts of a prompt's latency as a bar, which is full for the slowest prompt."""
        return spent(parts, self._longest)

    @cached_property
    def _longest(self) -> float:
        return max(parts.total for parts in self.breakdowns.values())

    @property
    def fidelity(self) -> tuple[str, str, list[str]]:
        """The verdict on the emulation, its CSS class, and its reasons."""
        fidelity = self.run.summary["fidelity"]
        return fidelity["verdict"], FIDELITY_TONES[fidelity["verdict"]], fidelity["reasons"]

    @property
    def emulation(self) -> Iterator[Group]:
        """The figures behind the verdict on the emulation."""
        fidelity = self.run.summary["fidelity"]
        if host := fidelity["host"]:
            yield Group("Host during play", list(_host(host)))
            yield Group("Waited behind the cap", [Figure(n, quantity(s, "s")) for n, s in host["throttled"].items()])
        if health := fidelity["health"]:
            yield Group("Links during play", list(_health(health)))

    @property
    def made_of(self) -> Iterator[Group]:
        """Host, versions, models, and the durations of the stages."""
        manifest = self.run.manifest
        host = {**manifest["host"], "memory": quantity(manifest["host"]["memory"], "B")}
        yield Group("Host", _figures({**host, "links": manifest["links"]}))
        yield Group("Versions", _figures({**manifest["versions"], "image": manifest["image"]["tag"]}))
        models = {node: f"{model['reference']} {model['sha256'][:12]}" for node, model in manifest["models"].items()}
        yield Group("Models", _figures(models))
        yield Group("Stages", [Figure(n, quantity(s["seconds"], "s")) for n, s in self.run.summary["stages"].items()])


def _figures(values: Mapping[str, object]) -> list[Figure]:
    return [Figure(name.replace("_", " "), str(value)) for name, value in values.items()]


def _host(host: Mapping[str, Any]) -> Iterator[Figure]:
    for name, figure in (
        ("idle", "idle"),
        ("idle in the worst second", "idle_least"),
        ("seconds with next to no idle time", "saturated"),
        ("taken by a hypervisor", "stolen"),
        ("some task waited for a core", "pressure"),
    ):
        yield Figure(name, "–" if host[figure] is None else f"{host[figure]:.0%}")


def _health(health: Mapping[str, Any]) -> Iterator[Figure]:
    yield Figure("latest frame", quantity(health["lateness"], "s"))
    lost = {link: frames for link, frames in health["lost"].items() if frames}
    yield Figure("frames lost unasked", ", ".join(f"{link} {frames}" for link, frames in lost.items()) or "none")
    if health["failure"] is not None:
        yield Figure("ended", health["failure"])
