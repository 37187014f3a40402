"""One run from start to end: check → build → warm up → play → cool down → collect → judge → tear down."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from testbed.analysis.nodes import DeviceSpeed
from testbed.analysis.summary import StageTime, Summary
from testbed.analysis.verdict.fidelity import Mode
from testbed.patterns.participant import JobError
from testbed.record.directory import RunDirectory
from testbed.record.inspection import Inspection
from testbed.record.manifest import manifest
from testbed.record.recording import SAMPLE_INTERVAL, Recording
from testbed.run.player import Timeline
from testbed.schema.scenario import Scenario
from testbed.show.report import write_report
from testbed.show.view import View
from testbed.workload.schedule import Arrival
from testbed.workload.scoring.base import Scorer
from testbed.workload.scoring.score import score_answer
from testbed.world import watcher
from testbed.world.journal import Journal
from testbed.world.nodes.client import AgentClient, AgentGoneError
from testbed.world.nodes.container import WorldError
from testbed.world.plan import prepare
from testbed.world.world import World


@dataclass(frozen=True)
class Options:
    """How to run. ``out`` is the run directory, ``links`` the name of a backend, ``fidelity`` how to measure links.

    ``keep`` leaves the world standing.
    """

    out: Path | None = None
    links: str | None = None
    fidelity: Mode = "quick"
    keep: bool = False


class Stages:
    """How long each stage takes, and each step of it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.done: dict[str, StageTime] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and take its time."""
        self._view.stage(name)
        self.done[name] = StageTime()
        begin = time.monotonic()
        try:
            yield
        finally:
            self.done[name].seconds = time.monotonic() - begin

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step of the current stage and take its time."""
        self._view.step(name)
        begin = time.monotonic()
        try:
            yield
        finally:
            self._current.steps[name] = time.monotonic() - begin

    @property
    def _current(self) -> StageTime:
        return next(reversed(self.done.values()))


def run(scenario: Scenario, options: Options, view: View) -> Summary:
    """Run a scenario and return what came of it; raises TestbedError where it cannot be run.

    What was traced is written even if the run is interrupted, and everything it made on this host is gone at the end.
    """
    stages, scenario = Stages(view), scenario.drawn()
    with stages.stage("check"):
        plan = prepare(scenario, options.links, view.step)
        directory = RunDirectory.create(plan.scenario, options.out)
    with ExitStack() as ending, _journal(stages, options.keep) as journal:
        with stages.stage("build"):
            world = World(plan, journal, stages.step)
        with closing(world), directory.keeping_logs(world.nodes):
            recording, inspection = Recording(world), Inspection(world, options.fidelity)
            interrupted = False
            try:
                with stages.stage("warm up"):
                    _warm_up(world, inspection, stages)
                with stages.stage("play"):
                    _play(world, recording, view)
                with stages.stage("cool down"), stages.step("measuring links"):
                    inspection.after_play()
            except KeyboardInterrupt:
                interrupted = True
                recording.emit("interrupted")
            finally:
                ending.enter_context(_undisturbed())
                with stages.stage("collect"):
                    measurements = recording.write(directory)
                    fidelity = inspection.judge(recording)
                    directory.write_json(
                        "manifest.json", manifest(plan, journal.run, recording.zero, fidelity, directory.inputs)
                    )
    speeds = {
        name: DeviceSpeed(speed.device, speed.asked, speed.host, speed.cpus)
        for name, device in plan.devices.items()
        if (speed := device.speed)
    }
    summary = Summary(
        plan.scenario,
        journal.run,
        directory.path,
        measurements,
        fidelity,
        stages.done,
        interrupted,
        speeds=speeds,
        synthetic=plan.synthetic,
    )
    directory.write_summary(summary)
    write_report(directory.path)
    return summary


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let a second Ctrl-C not cost the results. SIGKILL still ends it all, and leaves the clean-up to the watcher."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _journal(stages: Stages, keep: bool) -> Iterator[Journal]:
    """A journal whose run is undone at the end, or kept, and watched over until then."""
    journal = Journal.begin()
    watch = watcher.start(journal)
    try:
        yield journal
    except BaseException:
        journal.undo()
        raise
    else:
        if keep:
            journal.keep()
        else:
            with stages.stage("tear down"):
                journal.undo()
    finally:
        journal.close()  # should the clean-up have failed half-way, the watcher goes on with it
        watch.wait()


def _warm_up(world: World, inspection: Inspection, stages: Stages) -> None:
    """Every model loaded, every neighbour reached once over the links, and the links measured."""
    with stages.step("loading models"):
        world.wait_until_ready()
    with stages.step("reaching neighbours"):
        world.clock.run(_reach_neighbours(world))
    with stages.step("measuring links"):
        inspection.before_play()


async def _reach_neighbours(world: World) -> None:
    """Fill the tables of addresses and open the connections that prompts will use; raises WorldError."""
    async with AsyncExitStack() as stack:
        clients = await _clients(world, stack)
        try:
            reached = await asyncio.gather(*(client.neighbours() for client in clients.values()))
        except AgentGoneError as error:
            ends = [f"{name}: {node.wait()}" for name, node in world.nodes.items() if node.ended]
            raise WorldError(f"a node ended before play ({'; '.join(ends) or error})") from error
    for name, seconds in zip(clients, reached, strict=True):
        for neighbour in [neighbour for neighbour, time_taken in seconds.items() if time_taken is None]:
            raise WorldError(f"node {name!r} cannot reach {neighbour!r} over the emulated network")


async def _clients(world: World, stack: AsyncExitStack) -> dict[str, AgentClient]:
    return {name: await stack.enter_async_context(AgentClient(world.socket(name))) for name in world.nodes}


def _play(world: World, recording: Recording, view: View) -> None:
    """Hand over every prompt when it is due, and wait for all to end."""
    scenario = world.plan.scenario
    arrivals = scenario.workload.schedule(scenario.owners, scenario.seed)
    if world.plan.synthetic:
        arrivals = [replace(arrival, question=replace(arrival.question, truth=None)) for arrival in arrivals]
    timeline = Timeline(world, recording)
    recording.begin()
    view.play(recording.boards, len(arrivals), timeline.active, world.clock.dilation)
    try:
        world.clock.run(_deliver_all(world, recording, timeline, arrivals))
    finally:
        recording.end()


async def _deliver_all(world: World, recording: Recording, timeline: Timeline, arrivals: list[Arrival]) -> None:
    async with AsyncExitStack() as stack:
        clients = await _clients(world, stack)
        stack.push_async_callback(timeline.end)
        beside = await stack.enter_async_context(asyncio.TaskGroup())
        scorer = world.plan.scenario.workload.scorer
        sampling, playing = beside.create_task(_sample(recording)), beside.create_task(timeline.play())
        async with asyncio.TaskGroup() as deliveries:
            for arrival in arrivals:
                deliveries.create_task(_deliver(arrival, clients[arrival.node], recording, scorer))
        sampling.cancel()
        playing.cancel()


async def _sample(recording: Recording) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        recording.sample()
        due += SAMPLE_INTERVAL
        await asyncio.sleep(due - loop.time())


async def _deliver(arrival: Arrival, client: AgentClient, recording: Recording, scorer: Scorer) -> None:
    """Hand a prompt to its owner, see to it that it ends, and judge its answer."""
    await asyncio.sleep(recording.zero + arrival.at - asyncio.get_running_loop().time())
    text, truth = arrival.question.text, arrival.question.truth
    recording.emit("prompt", prompt=arrival.prompt, owner=arrival.node, text=text, truth=truth)
    try:
        answer = await client.prompt(arrival.prompt, text)
    except AgentGoneError:
        await recording.lose(arrival.prompt, arrival.node)
    except JobError:
        return  # the agent has recorded the failure itself
    else:
        score = await asyncio.to_thread(score_answer, scorer, arrival.question, answer)
        recording.emit("score", prompt=arrival.prompt, **asdict(score))
