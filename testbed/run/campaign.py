"""A campaign: runs of one scenario with consecutive seeds, compared with the scenario's baseline."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from testbed.analysis.comparison.changes import compare
from testbed.analysis.recorded import RecordedRun, load_runs, telling
from testbed.analysis.summary import Summary
from testbed.core.errors import SpecError
from testbed.record.directory import RunDirectory, shared_path
from testbed.run.orders import Order, Players
from testbed.schema.scenario import Scenario
from testbed.show.report import write_report


class Campaign:
    """The runs of one scenario. ``summaries`` are those of the runs that have ended, in the order of their seeds."""

    def __init__(self, scenario: Scenario, out: Path | None, repeat: int = 1) -> None:
        """Plan ``repeat`` runs: the first with the scenario's seed, each further one with the next seed.

        ``out`` is the directory of the run, or the one that several share, in which each has ``seed-N``. Raises
        SpecError if the scenario's baseline holds no valid run of it.
        """
        self._scenario = scenario
        self._out = out
        self._repeat = repeat
        self._baseline = Baseline(scenario)
        self.summaries: list[Summary] = []

    def play(self, players: Players) -> None:
        """Play the runs, and compare them with the baseline; stops if one is interrupted."""
        for ended in players.play(self._orders()):
            self.summaries.append(ended.summary)
            if ended.summary.interrupted:
                return
        self.summaries.sort(key=lambda summary: summary.scenario.seed)
        self.summaries = self._baseline.hold(self.summaries)

    def _orders(self) -> list[Order]:
        name, first = self._scenario.name, self._scenario.seed
        if self._repeat == 1:
            return [Order(name, self._scenario, self._out)]
        shared, seeds = shared_path(self._scenario, self._out), range(first, first + self._repeat)
        return [
            Order(f"{name}, seed {seed}", self._scenario.model_copy(update={"seed": seed}), shared / f"seed-{seed}")
            for seed in seeds
        ]


class Baseline:
    """The runs that a scenario's ``baseline`` names; none if it names none."""

    def __init__(self, scenario: Scenario) -> None:
        """Read the runs; raises SpecError if there is no valid one of the scenario."""
        self._runs: list[RecordedRun] = []
        if scenario.baseline is None:
            return
        self._runs = telling(run for run in load_runs([Path(scenario.baseline)]) if run.scenario == scenario.name)
        if not self._runs:
            raise SpecError.of(scenario.baseline, f"holds no valid run of {scenario.name}, so it is no baseline for it")

    def hold(self, summaries: Sequence[Summary]) -> list[Summary]:
        """Compare all runs together with the baseline, and write and return their summaries with the comparison.

        What is worse fails every run: one alone proves no change.
        """
        played = telling(load_runs(summary.directory for summary in summaries)) if self._runs else []
        if not played:
            return list(summaries)
        comparison = compare(self._runs, played)
        compared = [replace(summary, comparison=comparison) for summary in summaries]
        for summary in compared:
            RunDirectory(summary.directory).write_summary(summary)
            write_report(summary.directory)
        return compared
