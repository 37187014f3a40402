"""A simulated run: a scenario in virtual time, which leaves the same directory as a real one."""

import time
from itertools import cycle
from pathlib import Path
from secrets import token_hex
from typing import Final

import pyarrow as pa
import pyarrow.parquet

from testbed.analysis.events import Event, write_events
from testbed.analysis.measurements import Measurements
from testbed.analysis.summary import StageTime, Summary
from testbed.analysis.verdict.fidelity import Fidelity
from testbed.core.errors import Problem, SpecError
from testbed.record.directory import RunDirectory, shared_path
from testbed.record.manifest import simulated_manifest
from testbed.record.opinions import opinions
from testbed.record.samples import SCHEMA
from testbed.schema.network.topology import Topology
from testbed.schema.scenario import Scenario
from testbed.show.report import write_report
from testbed.simulation.calibration import Calibration
from testbed.simulation.domain import Domain, check_messages
from testbed.simulation.network import LinkNetwork
from testbed.simulation.simulation import Course, simulate
from testbed.simulation.sources import Redrawn
from testbed.topologies.generate import generate
from testbed.workload.prompts.base import SizedSource

_MOST_DRAWN: Final = 200  # nodes, of which a report draws each


def simulated_run(scenario: Scenario, calibration: Calibration, out: Path | None = None) -> Summary:
    """Simulate a scenario and write its run directory; raises SpecError for what is not simulated.

    A topology of more than 200 nodes gets no ``report.html``.
    """
    _refuse(scenario)
    scenario = scenario.model_copy(update={"dilation": 1.0})  # virtual time has no host to be slower than
    check_messages(calibration)
    path, begin = shared_path(scenario, out), time.monotonic()
    arrivals = scenario.workload.schedule(scenario.owners, scenario.seed)
    network = LinkNetwork(scenario.topology, calibration.overhead)
    course = simulate(scenario, Redrawn(calibration, scenario.workload.scorer, scenario.seed), network, arrivals)
    domain = Domain.of(calibration, course)
    play = StageTime(time.monotonic() - begin)
    directory = RunDirectory.create(scenario, path)
    measurements = _record(scenario, course, directory)
    fidelity, run = Fidelity(simulation=domain.sentences), token_hex(3)
    directory.write_json(
        "manifest.json", simulated_manifest(scenario, run, fidelity, directory.inputs, domain.as_dict())
    )
    summary = Summary(scenario, run, directory.path, measurements, fidelity, {"play": play})
    directory.write_summary(summary)
    if len(scenario.topology.nodes) <= _MOST_DRAWN:
        write_report(directory.path)
    return summary


def on_topology(scenario: Scenario, recipe: str) -> Scenario:
    """The scenario on a generated topology, whose nodes are copies of the scenario's in turn; raises SpecError."""
    draft = generate(recipe)
    nodes = cycle([node.model_dump(mode="json", exclude_none=True) for node in scenario.topology.agents.values()])
    written = {"nodes": dict(zip(draft.nodes, nodes, strict=False)), "links": [link.entry for link in draft.links]}
    topology = Topology.model_validate({"name": draft.name, **written})
    moved = scenario.model_copy(update={"topology": topology})
    if mistakes := [Problem(recipe, 0, message) for _, message in moved.mistakes()]:
        raise SpecError(mistakes)
    return moved


def _record(scenario: Scenario, course: Course, directory: RunDirectory) -> Measurements:
    """Write events, and samples without a row: memory and CPU time are not simulated."""
    events = sorted([*course.events, *opinions(course.events, course.questions, scenario.workload.scorer)], key=_time)
    write_events(events, directory.events)
    pyarrow.parquet.write_table(pa.Table.from_pylist([], SCHEMA), directory.samples)
    (directory.path / "logs").mkdir()
    return Measurements(events, {}, scenario.metric_files, scenario.topology.nodes, scenario.slo)


def _time(event: Event) -> float:
    return float(event["t"])


def _refuse(scenario: Scenario) -> None:
    """Raise SpecError for parts of a scenario that are not simulated."""
    nodes = scenario.topology.agents
    for what, asked in {
        "timeline": scenario.timeline,
        "limit": scenario.limit,
        "membership": scenario.membership,
        "workload.prompts: the length of answers": isinstance(scenario.workload.prompts, SizedSource),
        "topology.nodes: slots above 1": [name for name, node in nodes.items() if node.slots > 1],
    }.items():
        if asked:
            raise SpecError.of(what, "is not simulated; leave it out, or run the scenario with `testbed run`")
