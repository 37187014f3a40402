"""Run directories of any size without containers: nodes, links and models are simulated, all else is the testbed's own.

A discrete-event simulation of gossip Mixture-of-Agents writes the events that agents and host would have written, with
a partition in the middle of play, and a node that is killed and comes back.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from testbed.analysis.events import HOST, Event, write_events
from testbed.analysis.measurements import Measurements
from testbed.analysis.recorded import FORMAT
from testbed.analysis.summary import StageTime, Summary
from testbed.analysis.verdict.fidelity import Fidelity
from testbed.record.directory import RunDirectory
from testbed.record.fidelity.links import as_figures
from testbed.record.host_load import HostLoad
from testbed.record.opinions import opinions
from testbed.record.samples import SCHEMA
from testbed.schema.scenario import Scenario
from testbed.workload.schedule import Arrival
from testbed.workload.scoring.base import Scorer
from testbed.world.network.probe import Observation

MEMORY = 160 * 2**20
TIMEOUT = 2.0
INFERENCE = 0.06  # seconds, mean
HOP = 0.02  # seconds from node to node


def scenario(nodes: int = 4, prompts: int = 40, rate: float = 0.5, layers: int = 1, proposers: int = 3) -> Scenario:
    """Nodes around a switch, half of which do not hear the others for a while, and of which one is killed."""
    names = [f"n{number}" for number in range(1, nodes + 1)]
    seconds = prompts / rate / nodes
    halves = [names[: nodes // 2], names[nodes // 2 :]]
    return Scenario.model_validate(
        {
            "name": "simulated",
            "topology": {
                "name": "star",
                "defaults": {"link": {"bandwidth": "10mbit", "delay": "10ms", "loss": "0.1%"}},
                "nodes": {name: _equipped(number) for number, name in enumerate(names)},
                "switches": ["s1"],
                "links": [{"endpoints": [name, "s1"]} for name in names],
            },
            "seed": 7,
            "pattern": {"kind": "gossip-moa", "layers": layers, "proposers": proposers, "timeout": f"{TIMEOUT}s"},
            "workload": {"prompts": "worldfacts", "arrivals": {"rate": f"{rate}/s"}, "count": prompts},
            "timeline": [
                {"at": f"{seconds * 0.25}s", "partition": halves, "for": f"{seconds * 0.2}s"},
                {"at": f"{seconds * 0.6}s", "name": "crash", "kill": names[-1], "for": f"{seconds * 0.1}s"},
            ],
            "expect": {"completed": ">= 1", "latency.p95": "< 5s"},
        }
    )


def _equipped(number: int) -> dict[str, Any]:
    """A node of one tier after the other; the first has a power sensor."""
    node = {"model": "zoo/alpha", "cpus": 0.3, "memory": "160MiB", "tier": ("device", "edge", "cloud")[number % 3]}
    sensor = {} if number else {"power_sensor": {"kind": "hwmon", "chip": "ina226"}}
    return {**node, **sensor, "price": {"input": number, "output": 2 * number}, "power": f"{number + 1}W"}


@dataclass
class _Node:
    """A node: its jobs, each with its layer, its answer and what follows, the first at work; and how often it ended."""

    queue: list[tuple[str, int, str, Callable[[], None]]] = field(default_factory=list)
    life: int = 0
    running: bool = True


@dataclass
class _Play:
    """The simulation of one play."""

    scenario: Scenario
    events: list[Event] = field(default_factory=list)
    now: float = 0.0
    _agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.nodes = {name: _Node() for name in self.scenario.topology.nodes}
        self.draw = random.Random(self.scenario.seed)
        self.parted = False

    def run(self) -> list[Event]:
        """Play to the end."""
        self.now = -0.5
        for name in self.nodes:
            self.emit(name, "ready", load_seconds=0.02)
        self.now = 0.0
        self._traffic(0)
        arrivals = self.scenario.workload.schedule(list(self.nodes), self.scenario.seed)
        for arrival in arrivals:
            self._later(arrival.at, self._arrive, arrival)
        partition, crash = self.scenario.timeline
        for entry, begin, end in ((partition, self._part, self._part), (crash, self._kill, self._restart)):
            assert entry.at is not None and entry.lasts is not None
            for kind, at, act in (("fault_begin", entry.at, begin), ("fault_end", entry.at + entry.lasts, end)):
                self._later(at + 0.01, act)
                self._later(at + 0.01, self.emit, HOST, kind, name=entry.label, asked=at)
        while self._agenda:
            self.now, _, act = heapq.heappop(self._agenda)
            act()
        self._traffic(len(self.events))
        events = sorted(self.events, key=lambda event: event["t"])
        judged = opinions(events, {arrival.prompt: arrival.question for arrival in arrivals}, self._scorer)
        return sorted([*events, *judged], key=lambda event: event["t"])

    @property
    def _scorer(self) -> Scorer:
        return self.scenario.workload.scorer

    def emit(self, node: str, event: str, **fields: Any) -> None:
        self.events.append({"t": round(self.now, 6), "node": node, "event": event, **fields})

    def _later(self, at: float, act: Callable[..., None], *arguments: Any, **named: Any) -> None:
        heapq.heappush(self._agenda, (at, next(self._numbers), lambda: act(*arguments, **named)))

    def _arrive(self, arrival: Arrival) -> None:
        owner, prompt = arrival.node, arrival.prompt
        self.emit(HOST, "prompt", prompt=prompt, owner=owner, text=arrival.question.text, truth=arrival.question.truth)
        if not self.nodes[owner].running:
            self.emit(HOST, "lost", prompt=prompt, reason=f"{owner}: ended with code 137")
            return
        self.emit(owner, "arrival", prompt=prompt, text=arrival.question.text)
        _Progress(self, prompt, owner, arrival.question.truth).layer(1)

    def enqueue(self, node: str, job: str, layer: int, owner: str, text: str, then: Callable[[], None]) -> None:
        """Queue a job, and go on with ``then`` when it is done."""
        prompt = job.partition(".")[0]
        role = "aggregation" if layer > 1 else "answer"
        self.emit(node, "enqueue", job=job, prompt=prompt, layer=str(layer), role=role, owner=owner)
        self.nodes[node].queue.append((job, layer, text, then))
        if len(self.nodes[node].queue) == 1:
            self._start(node)

    def _start(self, node: str) -> None:
        job, layer, text, then = self.nodes[node].queue[0]
        life, seconds = self.nodes[node].life, INFERENCE * self.draw.lognormvariate(0, 0.4) * (2 if layer > 1 else 1)

        def end() -> None:
            if life != self.nodes[node].life:
                return
            self.emit(node, "end", job=job, prompt_tokens=14, tokens=5, text=text, stopped=True)
            self.nodes[node].queue.pop(0)
            if self.nodes[node].queue:
                self._start(node)
            then()

        self.emit(node, "start", job=job)
        self._later(self.now + 0.2 * seconds, self._first_token, node, job, life)
        self._later(self.now + seconds, end)

    def _first_token(self, node: str, job: str, life: int) -> None:
        if life == self.nodes[node].life:
            self.emit(node, "first_token", job=job)

    def send(self, source: str, target: str, message: str, size: int, then: Callable[[], None]) -> None:
        """Send a message, and go on with ``then`` if and when it arrives."""
        self.emit(source, "send", message=message, peer=target, bytes=size)
        names = list(self.nodes)
        across = (names.index(source) < len(names) // 2) != (names.index(target) < len(names) // 2)
        lives = self.nodes[source].life, self.nodes[target].life

        def arrive() -> None:
            if lives == (self.nodes[source].life, self.nodes[target].life) and self.nodes[target].running:
                self.emit(target, "receive", message=message, peer=source, bytes=size)
                then()

        if not (self.parted and across):
            self._later(self.now + HOP * self.draw.uniform(1.0, 1.2), arrive)

    def _part(self) -> None:
        self.parted = not self.parted

    def _kill(self) -> None:
        name = list(self.nodes)[-1]
        node = self.nodes[name]
        node.running, node.life, node.queue = False, node.life + 1, []
        self.emit(HOST, "exited", who=name, reason="ended with code 137")

    def _restart(self) -> None:
        name = list(self.nodes)[-1]
        self.nodes[name].running = True
        self.emit(name, "ready", load_seconds=0.02)

    def _traffic(self, size: int) -> None:
        links = {link.name: {"up": size, "down": size} for link in self.scenario.topology.resolved_links}
        self.emit(HOST, "traffic", links=links)


@dataclass
class _Progress:
    """How far a prompt has come at its owner."""

    play: _Play
    prompt: str
    owner: str
    truth: str

    def __post_init__(self) -> None:
        self.life = self.play.nodes[self.owner].life
        self.waiting: set[str] = set()
        self.draw = random.Random(f"{self.prompt} {self.play.scenario.seed}")

    def layer(self, number: int) -> None:
        """Ask for this layer's responses, and go on to the next one when all have come or failed."""
        pattern, play = self.play.scenario.pattern, self.play
        text = f"{self.truth if self.draw.random() < 0.7 else 'nowhere'}, sure"
        own = f"{self.prompt}.{number}@{self.owner}"
        self.waiting = {own}
        if number > pattern.layers:
            play.enqueue(self.owner, own, number, self.owner, text, lambda: self._answer(text))
            return
        others = self.draw.sample([name for name in play.nodes if name != self.owner], pattern.proposers)
        self.waiting |= {f"{self.prompt}.{number}@{other}" for other in others}
        play.enqueue(self.owner, own, number, self.owner, text, lambda: self._done(own, number))
        for other in others:
            self._ask(other, number, text)

    def _ask(self, other: str, number: int, text: str) -> None:
        job, play = f"{self.prompt}.{number}@{other}", self.play

        def respond() -> None:
            play.send(other, self.owner, f"{job}/response", 250, lambda: self._done(job, number))

        def take() -> None:
            play.enqueue(other, job, number, self.owner, text, respond)

        play.send(self.owner, other, f"{job}/request", 138, take)
        play._later(play.now + TIMEOUT, self._fail, job, other, number)

    def _fail(self, job: str, other: str, number: int) -> None:
        if job in self.waiting and self._lives:
            self.play.emit(self.owner, "ask_failed", message=f"{job}/request", peer=other, reason="no answer in 2 s")
            self._done(job, number)

    def _done(self, job: str, number: int) -> None:
        if job in self.waiting and self._lives:
            self.waiting.remove(job)
            if not self.waiting:
                self.layer(number + 1)

    def _answer(self, text: str) -> None:
        self.play.emit(self.owner, "answer", prompt=self.prompt, text=text)
        value = float(text.partition(",")[0] == self.truth)
        self.play.emit(HOST, "score", prompt=self.prompt, scorer="exact", version="1", value=value, reason=None)

    @property
    def _lives(self) -> bool:
        return self.life == self.play.nodes[self.owner].life


def play(scenario: Scenario) -> list[Event]:
    """The events of a simulated play, in the order of time; prompts whose owner was killed are lost."""
    events = _Play(scenario).run()
    ended = {event["prompt"] for event in events if event["event"] in ("answer", "lost")}
    killed = next((event["t"] for event in events if event["event"] == "exited"), 0.0)
    unended = [event["prompt"] for event in events if event["event"] == "prompt" and event["prompt"] not in ended]
    lost = ({"t": killed, "node": HOST, "event": "lost", "prompt": prompt, "reason": "killed"} for prompt in unended)
    return sorted([*events, *lost], key=lambda event: event["t"])


def played(scenario: Scenario, directory: Path) -> Path:
    """The directory of a simulated run."""
    files = RunDirectory.create(scenario, directory)
    events = play(scenario)
    write_events(events, files.events)
    samples = _samples(scenario, events)
    peaks = {row["node"]: row["memory_peak"] for row in samples}  # the last of each, which is the highest
    energy = {
        name: [(row["t"], row["joules"]) for row in samples if row["node"] == name]
        for name, node in scenario.topology.nodes.items()
        if node.power_sensor
    }
    measured = Measurements(events, peaks, scenario.metric_files, scenario.topology.nodes, scenario.slo, energy)
    table = pyarrow.Table.from_pylist(samples, SCHEMA)
    pyarrow.parquet.write_table(table, files.samples, compression="zstd")
    stages = {"warm up": StageTime(1.5), "play": StageTime(measured.duration)}
    summary = Summary(scenario, "0a1b2c", files.path, measured, _fidelity(scenario), stages)
    files.write_json("manifest.json", _manifest(scenario))
    files.write_summary(summary)
    return files.path


def _samples(scenario: Scenario, events: list[Event]) -> list[dict[str, Any]]:
    """Of every node that runs."""
    draw = random.Random(scenario.seed)
    down = [(event["who"], event["t"]) for event in events if event["event"] == "exited"]
    up = [(event["node"], event["t"]) for event in events if event["event"] == "ready"]
    rows: list[dict[str, Any]] = []
    peaks = dict.fromkeys(scenario.topology.nodes, 0)
    sensed = [name for name, node in scenario.topology.nodes.items() if node.power_sensor]
    for number in range(int(events[-1]["t"] / 0.15)):
        for name in scenario.topology.nodes:
            ended, began = (sum(one == name and t <= 0.15 * number for one, t in some) for some in (down, up))
            if ended == began:
                continue
            memory = int(MEMORY * (0.35 + 0.1 * draw.random()))
            peaks[name] = max(peaks[name], memory)
            cpu = 0.04 * number
            row = {"t": 0.15 * number, "node": name, "rss": memory, "memory": memory, "memory_peak": peaks[name]}
            joules = 4.5 * row["t"] + 0.3 * math.sin(row["t"]) if name in sensed else None
            rows.append({**row, "cpu": cpu, "throttled": cpu / 2, "queue": 0, "joules": joules})
    return rows


def _fidelity(scenario: Scenario) -> Fidelity:
    seen = Observation(sent=100, received=100, delays=(0.0101, 0.0102, 0.0103), rates=(9.99e6,))
    figures = as_figures({link: {"up": seen, "down": seen} for link in scenario.topology.resolved_links}, {})
    host = {**vars(HostLoad(0.6, 0.4, 0.0, 0.0, 0.1)), "throttled": dict.fromkeys(scenario.topology.nodes, 1.5)}
    health = {"failure": None, "lateness": 0.001, "lost": {}}
    return Fidelity("quick", (), links=figures, host=host, health=health)


def _manifest(scenario: Scenario) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "run": "0a1b2c",
        "scenario": scenario.name,
        "seed": scenario.seed,
        "dilation": 1.0,
        "play_began": "2026-11-22T11:20:09.173654+00:00",
        "host": {"name": "host", "kernel": "6.1", "cpus": 2, "memory": 8 * 2**30},
        "links": "userspace",
        "versions": {"python": "3.11.2", "testbed": "0.1.0"},
        "image": {"tag": "testbed-node:0", "id": "sha256:0"},
        "models": {
            name: {"reference": "zoo/alpha", "sha256": "f" * 64, "bytes": 1} for name in scenario.topology.nodes
        },
    }
