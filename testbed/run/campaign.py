"""A campaign: runs of one scenario with consecutive seeds, compared with the scenario's baseline."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from testbed.analysis.comparison.changes import compare
from testbed.analysis.recorded import RecordedRun, load_runs, telling
from testbed.analysis.summary import Summary
from testbed.core.errors import SpecError
from testbed.record.directory import RunDirectory, shared_path
from testbed.run import runner
from testbed.schema.scenario import Scenario
from testbed.show.report import write_report
from testbed.show.view import View

Watch = Callable[[str], AbstractContextManager[View]]
"""Makes the view of a run, given the run's name."""


class Campaign:
    """The runs of one scenario. ``summaries`` are those of the runs that have ended, in order."""

    def __init__(self, scenario: Scenario, options: runner.Options, repeat: int = 1) -> None:
        """Plan ``repeat`` runs: the first with the scenario's seed, each further one with the next seed.

        Raises SpecError if the scenario's baseline holds no valid run of it.
        """
        self._scenario = scenario
        self._options = options
        self._repeat = repeat
        self._baseline = _baseline(scenario)
        self.summaries: list[Summary] = []

    def play(self, watch: Watch) -> None:
        """Play the runs one after the other, and compare them with the baseline; stops if one is interrupted."""
        for scenario, out in self._runs():
            with watch(scenario.name if self._repeat == 1 else f"{scenario.name}, seed {scenario.seed}") as view:
                self.summaries.append(runner.run(scenario, replace(self._options, out=out), view))
            if self.summaries[-1].interrupted:
                return
        self._hold_against_baseline()

    def _runs(self) -> Iterator[tuple[Scenario, Path | None]]:
        """The scenario and directory of each run. Several runs share a directory, in which each has ``seed-N``."""
        if self._repeat == 1:
            yield self._scenario, self._options.out
            return
        shared = shared_path(self._scenario, self._options.out)
        for seed in range(self._scenario.seed, self._scenario.seed + self._repeat):
            yield self._scenario.model_copy(update={"seed": seed}), shared / f"seed-{seed}"

    def _hold_against_baseline(self) -> None:
        """Compare all runs together with the baseline. What is worse fails every run: one alone proves no change."""
        if not self._baseline:
            return
        played = telling(load_runs(summary.directory for summary in self.summaries))
        if not played:
            return
        comparison = compare(self._baseline, played)
        self.summaries = [replace(summary, comparison=comparison) for summary in self.summaries]
        for summary in self.summaries:
            RunDirectory(summary.directory).write_summary(summary)
            write_report(summary.directory)


def _baseline(scenario: Scenario) -> list[RecordedRun]:
    """The runs of the scenario's baseline; empty if it names none."""
    if scenario.baseline is None:
        return []
    runs = telling(run for run in load_runs([Path(scenario.baseline)]) if run.scenario == scenario.name)
    if not runs:
        raise SpecError.of(scenario.baseline, f"holds no valid run of {scenario.name}, so it is no baseline for it")
    return runs
