"""Sweeps whose runs are not played but simulated: which are run, what comes of them, and how they go on."""

import json
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from xml.etree import ElementTree

import pyarrow.csv
import pyarrow.parquet
import pytest
from commands import Call, Outcome, caller
from fake_host import FakeHost
from gossip import Gossip

from testbed.analysis.comparison import visits
from testbed.analysis.distributions import t_quantile, wilson_interval
from testbed.analysis.measurements import Measurements
from testbed.analysis.recorded import FORMAT
from testbed.analysis.summary import Summary
from testbed.analysis.verdict.fidelity import Fidelity, Flaw
from testbed.cli import console as terminal
from testbed.core.errors import HostError
from testbed.host import machine as emulation_host
from testbed.record.directory import RunDirectory
from testbed.run import runner
from testbed.schema.keys import full_key, scenario_keys
from testbed.schema.points import Point, read_grid
from testbed.schema.scenario import Scenario
from testbed.show.report import write_sweep
from testbed.show.view import Pace

SCENARIO = """\
name: swept
topology:
  name: star
  nodes:
    a: {model: zoo/alpha, cpus: 0.1, memory: 160MiB}
    b: {model: zoo/alpha, cpus: 0.1, memory: 160MiB}
    c: {model: zoo/alpha, cpus: 0.1, memory: 160MiB}
    d: {model: zoo/alpha, cpus: 0.1, memory: 160MiB}
  switches: [s1]
  links: [{endpoints: [a, s1]}, {endpoints: [b, s1]}, {endpoints: [c, s1]}, {endpoints: [d, s1]}]
seed: 3
pattern: {kind: gossip-moa, layers: 1, proposers: 1}
workload: {prompts: worldfacts, arrivals: {rate: 0.1/s}, count: 30}
expect: {latency.mean: "< 20s"}
"""

POINTS = """\
sweep:
  - {set: {layers: 0, proposers: 0}, published: {accuracy: 0.2191, latency.mean: 94.01s}}
  - {set: {layers: 1, proposers: 3}, published: {accuracy: 0.3979, latency.mean: 578.88s}}
"""


def _name(scenario: Scenario) -> str:
    return f"{scenario.pattern.layers} {scenario.pattern.proposers} {scenario.seed}"


@dataclass
class Host(FakeHost):
    """Simulates runs. The one called ``interrupt_at`` is interrupted, the one called ``invalid`` is invalid."""

    interrupt_at: str = ""
    invalid: str = ""

    @property
    def names(self) -> list[str]:
        return [_name(scenario) for scenario in self.played]

    def end(self, scenario: Scenario, directory: RunDirectory) -> Summary:
        pattern, workload, name = scenario.pattern, scenario.workload, _name(scenario)
        directory.write_json("manifest.json", {"format": FORMAT})
        simulated = Gossip(pattern.layers, pattern.proposers, workload.arrivals.rate, workload.count)
        findings = [Flaw("invalid", "the links ended")] if name == self.invalid else []
        measured: Measurements = simulated.play(scenario.seed)
        interrupted = name == self.interrupt_at
        summary = Summary(scenario, "r", directory.path, measured, Fidelity("quick", findings), {}, interrupted)
        directory.write_summary(summary)
        return summary


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(runner, "run", host.run)
    monkeypatch.setattr(emulation_host, "require_root", lambda: None)
    return host


@pytest.fixture
def sweep(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call ``testbed sweep`` in a terminal of 80 columns; what it gives goes to ``out`` in the test's directory."""
    del host
    monkeypatch.setattr(terminal.out, "width", 80)

    def call(*arguments: str, scenario: str = SCENARIO) -> Outcome:
        path = tmp_path / "scenario.yaml"
        path.write_text(scenario, encoding="utf-8")
        return caller(monkeypatch, capsys, "sweep")(path, "--out", tmp_path / "out", *arguments)

    return call


GRID = ("--grid", "layers=0,1", "--grid", "proposers=1,3", "--repeat", "2")
ALL = ["0 1 3", "0 1 4", "0 3 3", "0 3 4", "1 1 3", "1 1 4", "1 3 3", "1 3 4"]


def test_every_point_is_run_with_every_seed_in_a_directory_of_its_own(sweep: Call, host: Host, tmp_path: Path) -> None:
    outcome = sweep(*GRID)
    assert (outcome.code, host.names) == (0, ALL)
    found = sorted(
        str(path.parent.relative_to(tmp_path / "out")) for path in (tmp_path / "out").glob("*/*/summary.json")
    )
    assert found == [f"layers={m},proposers={k}/seed-{seed}" for m, k, seed in (name.split() for name in ALL)]
    assert outcome.err.startswith("run 1 of 8, about ")
    assert "run 8 of 8, about " in outcome.err


def test_the_table_has_means_and_intervals_over_the_repetitions(sweep: Call, tmp_path: Path) -> None:
    outcome = sweep(*GRID)
    table = pyarrow.parquet.read_table(tmp_path / "out" / "sweep.parquet")
    assert pyarrow.csv.read_csv(tmp_path / "out" / "sweep.csv").to_pylist() == table.to_pylist()
    assert table.select(["layers", "proposers", "runs", "passed"]).to_pylist() == [
        {"layers": m, "proposers": k, "runs": 2, "passed": 2} for m in (0, 1) for k in (1, 3)
    ]
    runs = [Gossip(1, 3, 0.1, 30).play(seed).metrics() for seed in (3, 4)]
    latencies = [run["latency.mean"] or math.nan for run in runs]
    half = t_quantile(0.975, 1) * stdev(latencies) / math.sqrt(2)
    row = table.to_pylist()[3]
    assert row["latency.mean"] == pytest.approx(fmean(latencies))
    assert row["latency.mean.low"] == pytest.approx(fmean(latencies) - half)
    assert row["latency.mean.high"] == pytest.approx(fmean(latencies) + half)
    assert row["utilisation"] == pytest.approx(0.5, rel=0.1)
    assert row["nodes.a.queue.theorem"] == pytest.approx(0.5, rel=0.1)
    assert row["replay.no_network"] == pytest.approx(row["replay.measured"]) == pytest.approx(fmean(latencies))
    *lines, _page = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    (shown,) = [line.split() for line in outcome.out.splitlines() if line.split()[:2] == ["1", "3"]]
    assert shown[6:9] == [f"{fmean(latencies):.3g}", "±", f"{half:.2g}"]


def test_one_run_a_point_tells_how_sure_shares_of_its_prompts_are_and_nothing_else(sweep: Call, tmp_path: Path) -> None:
    sweep("--grid", "layers=0,1")
    table = pyarrow.parquet.read_table(tmp_path / "out" / "sweep.parquet")
    assert [name for name in table.column_names if name.endswith(".low")] == ["accuracy.low", "completed.low"]
    assert (table["accuracy.low"][0].as_py(), table["accuracy.high"][0].as_py()) == wilson_interval(30, 30)


def test_json_has_the_rows_of_the_table(sweep: Call, tmp_path: Path) -> None:
    rows = json.loads(sweep(*GRID, "--json").out)
    table = pyarrow.parquet.read_table(tmp_path / "out" / "sweep.parquet").to_pylist()
    assert rows == [{name: value for name, value in row.items() if value is not None} for row in table]


def test_a_sweep_goes_on_where_it_was_interrupted(sweep: Call, host: Host, tmp_path: Path) -> None:
    host.interrupt_at = ALL[4]
    assert sweep(*GRID).code == 130
    assert host.names == ALL[:5]
    assert pyarrow.csv.read_csv(tmp_path / "out" / "sweep.csv").num_rows == 2
    host.interrupt_at = ""
    assert sweep(*GRID).code == 0  # though the run left a directory
    assert host.names[5:] == ALL[4:]
    assert sweep(*GRID).code == 0
    assert len(host.names) == 5 + 4
    assert pyarrow.csv.read_csv(tmp_path / "out" / "sweep.csv").num_rows == 4


def test_a_sweep_grows_by_values_and_repetitions(sweep: Call, host: Host) -> None:
    sweep("--grid", "layers=0")
    sweep("--grid", "layers=0,1", "--repeat", "2")
    assert host.names == ["0 1 3", "0 1 4", "1 1 3", "1 1 4"]


def test_runs_of_another_scenario_are_not_taken_for_those_of_this_one(sweep: Call, host: Host) -> None:
    sweep("--grid", "layers=0,1")
    outcome = sweep("--grid", "layers=0,1", "--set", "count=31".replace("count", "workload.count"))
    assert outcome.code == 2
    assert "layers=0/seed-3 is not of this sweep, whose scenario has changed; name another directory" in outcome.err
    assert len(host.names) == 2


def test_what_failed_or_broke_is_shown_and_the_sweep_goes_on(sweep: Call, host: Host, tmp_path: Path) -> None:

    def cannot(scenario: Scenario) -> None:
        if _name(scenario) == ALL[2]:
            raise HostError("the nodes ask for 9 CPUs and this host has 2")

    host.invalid, host.cannot = ALL[0], cannot
    outcome = sweep(*GRID, scenario=SCENARIO.replace("< 20s", "< 2s"))
    assert (outcome.code, host.names) == (4, ALL)
    assert "  layers=0 proposers=1, seed 3: invalid: the links ended" in outcome.out.splitlines()
    assert "layers=0 proposers=3, seed 3: impossible: the nodes ask for 9 CPUs and this host has 2" in outcome.out
    assert "layers=1 proposers=3, seed 4: failed: latency.mean: expected < 2s, was 3." in outcome.out
    rows = pyarrow.csv.read_csv(tmp_path / "out" / "sweep.csv").to_pylist()
    counted = ("runs", "passed", "failed", "invalid", "impossible")
    assert [[row[name] for name in counted] for row in rows] == [
        [2, 1, 0, 1, 0],
        [2, 1, 0, 0, 1],
        [2, 0, 2, 0, 0],
        [2, 0, 2, 0, 0],
    ]
    assert [row["accuracy"] for row in rows] == [1.0] * 4
    expected = [wilson_interval(prompts, prompts) or (0.0, 0.0) for prompts in (30, 30, 60, 60)]  # of runs that tell
    assert [row["accuracy.low"] for row in rows] == [pytest.approx(low) for low, _ in expected]
    assert [row["latency.mean.low"] is None for row in rows] == [True, True, False, False]


def test_the_points_of_a_file_stand_beside_what_was_published(sweep: Call, host: Host, tmp_path: Path) -> None:
    outcome = sweep(scenario=SCENARIO + POINTS)
    assert (outcome.code, host.names) == (0, ["0 0 3", "1 3 3"])
    assert "(21.9 %)" in outcome.out
    assert "in brackets: published" in outcome.out
    rows = pyarrow.csv.read_csv(tmp_path / "out" / "sweep.csv").to_pylist()
    assert [row["published.latency.mean"] for row in rows] == [94.01, 578.88]
    assert "sweep" not in (tmp_path / "out" / "layers=0,proposers=0" / "seed-3" / "scenario.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--grid: is missing, and "),
        (["--grid", "layers"], "--grid: 'layers' must read KEY=VALUE,VALUE,…, like layers=0,1,2"),
        (["--grid", "=1"], "--grid: '=1' must read KEY=VALUE,VALUE,…, like layers=0,1,2"),
        (["--grid", "layers="], "--grid: 'layers=' must read KEY=VALUE,VALUE,…, like layers=0,1,2"),
        (["--grid", "layers=1,[2]"], "--grid: 'layers=1,[2]' must read KEY=VALUE,VALUE,…, like layers=0,1,2"),
        (["--grid", "layers=]"], "--grid: '[]]' is not a YAML value"),
        (["--grid", "layers=1,2,1"], "--grid: 'layers=1,2,1' has 1 twice; leave one of the two out"),
        (["--grid", "layers=0", "--grid", "layers=1"], "--grid: names `layers` twice; write all its values at once"),
        (["--grid", "layer=1"], "sweep: there is no key `layer` in a scenario; did you mean `layers`?"),
        (["--grid", "timeout=1s,2s"], "sweep: `timeout` may be pattern.timeout, membership.timeout; write enough to"),
        (["--grid", "layers=1", "--grid", "pattern.layers=2"], "sweep: `layers` and `pattern.layers` are the same key"),
        (["--grid", "layers=0,-1"], "with layers=-1: pattern.layers: `-1` is wrong"),
        (["--grid", "proposers=1,5"], "with proposers=5: pattern: needs 5 neighbours for each node; 'a' lacks 2"),
        (["--grid", "topology.nodes.x.cpus=0.1"], "with topology.nodes.x.cpus=0.1: "),
        (["--grid", "rate=1/s,2"], "with rate=2: workload.arrivals.rate: 2 has no unit"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_before_anything_runs(
    sweep: Call, host: Host, arguments: list[str], sentence: str
) -> None:
    outcome = sweep(*arguments)
    assert (outcome.code, outcome.out, host.names) == (2, "", [])
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err


def test_points_whose_names_fall_together_are_refused(sweep: Call, host: Host) -> None:
    outcome = sweep(scenario=SCENARIO + "sweep: [{set: {layers: 0}}, {set: {layers: 0}}]\n")
    assert (outcome.code, host.names) == (2, [])
    assert "has one point twice" in outcome.err


def test_what_was_published_must_be_a_metric_with_its_unit(sweep: Call) -> None:
    outcome = sweep(scenario=SCENARIO + "sweep: [{set: {layers: 0}, published: {latency.mean: 94.01, acuracy: 1}}]\n")
    assert outcome.code == 2
    assert "sweep[0].published.latency.mean: 94.01 has no unit" in outcome.err
    assert "sweep[0].published.acuracy: there is no metric 'acuracy'" in outcome.err


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("layers", "pattern.layers"),
        ("rate", "workload.arrivals.rate"),
        ("arrivals.rate", "workload.arrivals.rate"),
        ("link.delay", "topology.defaults.link.delay"),
        ("pattern.layers", "pattern.layers"),
        ("topology", "topology"),
        ("topology.nodes.a.cpus", "topology.nodes.a.cpus"),
        ("nodes.a.cpus", "topology.nodes.a.cpus"),
        ("count", "workload.count"),
        ("links.a-s1.delay", "topology.links.a-s1.delay"),
        ("pattern.option_of_a_class_in_one_file", "pattern.option_of_a_class_in_one_file"),
    ],
)
def test_a_key_may_be_named_by_its_last_parts(short: str, full: str) -> None:
    assert full_key("--grid", short) == full


def test_every_key_stands_for_itself() -> None:
    assert {"seed", "queue.limit", "membership", "membership.period"} <= set(scenario_keys())
    assert [full_key("--grid", key) for key in scenario_keys()] == list(scenario_keys())


def test_values_are_read_as_in_a_file() -> None:
    points = read_grid(["rate=0.5/s,1/s", "oversubscribe=true"])
    assert [point.set for point in points] == [{"rate": rate, "oversubscribe": True} for rate in ("0.5/s", "1/s")]
    assert [point.name for point in points] == [f"rate={rate} oversubscribe=true" for rate in ("0.5/s", "1/s")]
    assert [point.directory for point in points] == [f"rate={rate},oversubscribe=true" for rate in ("0.5_s", "1_s")]


SVG = "{http://www.w3.org/2000/svg}"


def test_the_figure_has_a_panel_for_each_metric_and_a_line_for_each_combination(sweep: Call, tmp_path: Path) -> None:
    sweep("--grid", "rate=0.05/s,0.1/s,0.2/s", "--grid", "proposers=1,3", "--repeat", "2")
    panels = ElementTree.parse(tmp_path / "out" / "sweep.svg").getroot().findall(f"{SVG}g")
    assert [panel.findtext(f"{SVG}text") for panel in panels] == ["accuracy", "latency.mean", "queue.mean"]
    for panel in panels:
        lines = [line.get("points", "").split() for line in panel.findall(f"{SVG}polyline")]
        assert [len(line) for line in lines] == [3, 3]
        first, second, third = (float(corner.split(",")[0]) for corner in lines[0])
        assert (third - second) / (second - first) == pytest.approx(2, rel=0.01)
        intervals = [path for path in panel.findall(f"{SVG}path") if path.get("class", "").startswith("interval")]
        assert len(intervals) == len(panel.findall(f"{SVG}circle")) == 6
    heights = [
        float(corner.split(",")[1]) for corner in panels[1].findall(f"{SVG}polyline")[1].get("points", "").split()
    ]
    assert heights == sorted(heights, reverse=True)  # the higher the rate, the longer it takes: upwards is less in SVG


def test_how_long_it_still_takes_follows_from_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = Pace(total=3, done=0, expected=60.0)
    assert pace.seconds_left == 60.0
    now = 105.0
    assert pace.seconds_left == 55.0
    now = 140.0
    pace.move_on(20.0)
    assert (pace.done, pace.seconds_left) == (1, 80.0)
    now = 150.0
    assert pace.seconds_left == 70.0


def test_a_directory_that_cannot_be_written_is_named(sweep: Call, host: Host, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    outcome = sweep("--grid", "layers=0,1")
    assert (outcome.code, host.names) == (2, [])
    assert "name another directory" in outcome.err


def test_the_page_links_the_runs_of_every_point_and_marks_distorted_ones(tmp_path: Path) -> None:
    numbers = {"accuracy": 0.8, "completed": 1.0, "prompts": 40.0, "latency.mean": 0.25}
    outcomes = [visits.Outcome(7, "passed", [], 0, numbers=numbers), visits.Outcome(8, "passed", [], 0, True, numbers)]
    point = Point(set={"layers": 1}, published={"accuracy": 0.75})
    report = tmp_path / point.directory / "seed-7" / "report.html"
    report.parent.mkdir(parents=True)
    report.touch()
    write_sweep("gossip", [visits.Visited(point, outcomes)], tmp_path)
    page = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert re.findall('href="([^"]*)"', page) == ["layers%3D1/seed-7/report.html"]
    assert "published: 75 %" in page
    assert "250 ± 0 ms" in page
    assert page.count(" passed</span>") == 2
    assert page.count("distorted</span>") == 1
    assert "data:image/svg+xml;base64," in page


def test_a_seed_that_several_hosts_have_played_is_named(tmp_path: Path) -> None:
    numbers = {"accuracy": 0.8, "completed": 1.0, "prompts": 40.0, "latency.mean": 0.25}

    def of(layers: int, *hosts: str) -> visits.Visited:
        found = [
            visits.Outcome(seed, "passed", [], 0, host=host, numbers=numbers) for seed, host in enumerate(hosts, 7)
        ]
        return visits.Visited(Point(set={"layers": layers}), found)

    assert visits.scattered([of(0, "x", "y"), of(1, "x", "y")]) == []
    moved = [of(0, "x", "y"), of(1, "x", "z")]
    sentence = "seed 8 was played on y and z: its points differ by these hosts, too"
    assert visits.scattered(moved) == [sentence]
    write_sweep("gossip", moved, tmp_path)
    assert sentence in (tmp_path / "sweep.html").read_text(encoding="utf-8")
