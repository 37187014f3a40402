"""One run from start to end: check → build → warm up → play → cool down → collect → judge → tear down."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.analysis.summary import StageTime, Summary
from testbed.analysis.verdict.fidelity import Mode
from testbed.core.errors import TestbedError
from testbed.record.captures import capturing
from testbed.record.directory import RunDirectory
from testbed.record.fidelity.inspection import Inspection
from testbed.record.recording import Recording
from testbed.run.playing.play import play
from testbed.run.results import Results
from testbed.schema.scenario import Scenario
from testbed.show.view import View
from testbed.world import watcher
from testbed.world.journal import Journal
from testbed.world.plan import prepare
from testbed.world.world import World


@dataclass(frozen=True)
class Options:
    """How to run a scenario.

    ``out`` is the run directory, by default a new one under ``runs/``. ``links`` names a link backend, by default the
    first that suits. ``fidelity`` says how thoroughly links are measured. ``keep`` leaves nodes and network running.
    """

    out: Path | None = None
    links: str | None = None
    fidelity: Mode = "quick"
    keep: bool = False


class Stages:
    """The stages of a run, and their steps, with the seconds that each takes by the host's clock."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.done: dict[str, StageTime] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and measure it."""
        self._view.stage(name)
        self.done[name] = StageTime()
        begin = time.monotonic()
        try:
            yield
        finally:
            self.done[name].seconds = time.monotonic() - begin

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step of the current stage and measure it."""
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
    """Run a scenario and return its summary; raises TestbedError if it cannot be run.

    Results are written even if the run is interrupted or fails. Everything else that the run made on this host is
    removed at the end.
    """
    stages, scenario = Stages(view), scenario.drawn()
    with stages.stage("check"):
        plan = prepare(scenario, options.links, view.step, view.fetch)
        results = Results(plan, RunDirectory.create(plan.scenario, options.out), stages.done)
    try:
        with ExitStack() as ending, _journal(stages, options.keep) as journal:
            journal.note_results(results.directory.path)
            with stages.stage("build"):
                world = World(plan, journal, stages.step)
            with closing(world):
                recording, inspection = Recording(world), Inspection(world, options.fidelity)
                try:
                    _live(world, recording, inspection, stages, view, results.directory)
                except KeyboardInterrupt:
                    results.cut_off = "interrupted"
                    recording.emit("interrupted")
                except TestbedError as error:
                    results.cut_off = str(error)
                    raise
                finally:
                    ending.enter_context(_undisturbed())
                    with stages.stage("collect"):
                        results.collect(journal.run, recording, inspection)
                        results.keep_outputs(world.nodes)
    except BaseException:
        if (kept := results.conclude()) is not None:
            view.step(f"what was recorded is in {kept.directory}")
        raise
    summary = results.conclude()
    assert summary is not None  # a run that raises nothing has recorded something
    return summary


def _live(
    world: World, recording: Recording, inspection: Inspection, stages: Stages, view: View, directory: RunDirectory
) -> None:
    with stages.stage("warm up"):
        _warm_up(world, inspection, stages)
    with stages.stage("play"), capturing(world, recording, directory):
        play(world, recording, view.play)
    with stages.stage("cool down"), stages.step("measuring links"):
        inspection.after_play()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore SIGINT, SIGTERM and SIGHUP: a second Ctrl-C must not lose the results, nor a closed terminal.

    After SIGKILL the watcher cleans up.
    """
    ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _journal(stages: Stages, keep: bool) -> Iterator[Journal]:
    """The journal of a new run, undone or kept when the context ends; a watcher undoes it if the runner dies."""
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
        journal.close()  # if the clean-up failed half-way, the watcher tries again
        watch.wait()


def _warm_up(world: World, inspection: Inspection, stages: Stages) -> None:
    """Load every model, have every node reach its neighbours over the links, and measure the links."""
    with stages.step("loading models"):
        world.wait_until_ready()
    with stages.step("reaching neighbours"):
        world.reach_neighbours()
    with stages.step("measuring links"):
        inspection.before_play()
