"""Chaos: runs with random timelines until an invariant breaks, and then the smallest timeline that breaks it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from testbed.analysis.summary import Summary
from testbed.core.units import RATE
from testbed.record.directory import shared_path
from testbed.run import runner
from testbed.run.orders import Watch
from testbed.run.shrinking import Timeline, shrink
from testbed.schema.expectation import Expectation
from testbed.schema.scenario import Scenario, write_scenario
from testbed.schema.timeline.entries import Entry, named, timeline_mistakes
from testbed.show.report.chaos import ChaosRun, write_chaos
from testbed.world.leaks import Possessions

MOST_TRIES: Final = 40
"""Timelines that are tried in search of the smallest: a quarter of an hour if a run takes 20 s."""

_USUAL_FAULTS: Final = 4  # in a run, if the scenario has no `random`


@dataclass(frozen=True)
class Breach:
    """Broken invariants, as sentences, and the scenario with the smallest timeline that breaks one.

    ``path`` is the file of that scenario, and ``tries`` the number of runs of the search for it.
    """

    broken: list[str]
    scenario: Scenario
    path: Path
    tries: int

    def as_dict(self) -> dict[str, Any]:
        """The breach as JSON, for ``--json``."""
        seed, smallest = self.scenario.seed, str(self.path)
        return {"broken": self.broken, "seed": seed, "smallest": smallest, "tries": self.tries}


class Chaos:
    """Runs of one scenario with consecutive seeds, each of which draws other faults; ``chaos.html`` lists them.

    ``played`` counts the runs. ``invalid`` counts those with an invalid emulation, including tries of a search: these
    prove nothing. ``breach`` is what the last run broke, or None.
    """

    def __init__(self, scenario: Scenario, options: runner.Options, watch: Watch, tell: Callable[[str], None]) -> None:
        """``options.out`` is the directory that the runs share; ``tell`` is called with a sentence on each run."""
        self._scenario = _chaotic(scenario)
        self._options = options
        self.directory = shared_path(scenario, options.out)
        self._watch = watch
        self._tell = tell
        self._runs: list[ChaosRun] = []
        self.played = 0
        self.invalid = 0
        self.breach: Breach | None = None

    def play(self, runs: int) -> None:
        """Play up to ``runs`` runs, until an invariant breaks; raises KeyboardInterrupt if one is interrupted."""
        try:
            self._play_all(runs)
        finally:
            self._write_page()

    def _play_all(self, runs: int) -> None:
        for number in range(runs):
            seed = self._scenario.seed + number
            scenario = self._scenario.model_copy(update={"seed": seed}).drawn()
            broken = self._play(scenario, f"seed-{seed}")
            self.played += 1
            if broken:
                self.breach = self._smallest(scenario, broken)
                return

    def _write_page(self) -> None:
        smallest = None if self.breach is None else [entry.sentence for entry in self.breach.scenario.timeline]
        if self._runs:
            write_chaos(self._scenario.name, self._runs, smallest, self.directory)

    @property
    def exit_code(self) -> int:
        """The exit code of the process: 1 for a breach, 4 if all runs were invalid, else 0."""
        if self.breach is not None:
            return 1
        return 4 if self.invalid == self.played else 0

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON, for ``--json``."""
        breach = None if self.breach is None else self.breach.as_dict()
        counts = {"runs": self.played, "invalid": self.invalid}
        return {"scenario": self._scenario.name, "directory": str(self.directory), **counts, "breach": breach}

    def _smallest(self, scenario: Scenario, broken: list[str]) -> Breach:
        """Search for the smallest timeline that breaks an invariant; returns the last one tried that does."""
        tries, breach = 0, broken

        def breaks(timeline: Timeline) -> bool:
            nonlocal tries, breach
            if any(timeline_mistakes(timeline, scenario.extent)):
                return False
            tries += 1
            found = self._play(scenario.model_copy(update={"timeline": timeline}), f"try-{tries}")
            breach = found or breach
            return bool(found)

        timeline = shrink(scenario.timeline, breaks, MOST_TRIES)
        smallest = scenario.model_copy(update={"timeline": timeline})
        path = self.directory / "smallest.yaml"
        write_scenario(smallest, path)
        return Breach(breach, smallest, path, tries)

    def _play(self, scenario: Scenario, name: str) -> list[str]:
        """Play one run; returns what it broke, as sentences. If it broke nothing, its directory is removed."""
        before = Possessions.now()
        with self._watch(f"{scenario.name}, {name}, {len(scenario.timeline)} faults", None) as view:
            summary = runner.run(scenario, replace(self._options, out=self.directory / name), view)
        if summary.interrupted:
            raise KeyboardInterrupt
        broken = [*_broken(summary), *before.leaks(summary.run)]
        outcome = _said(summary, broken)
        self._tell(f"{name}: {outcome}")
        self._runs.append(ChaosRun(name, scenario.seed, [entry.sentence for entry in scenario.timeline], outcome))
        self.invalid += summary.verdict == "invalid"
        if not broken and summary.verdict != "invalid":
            shutil.rmtree(summary.directory)
        return broken


def _chaotic(scenario: Scenario) -> Scenario:
    """The scenario without expectations and baseline, and with random faults of all kinds if it has none of its own."""
    timeline = scenario.timeline
    if not any(entry.random for entry in timeline):
        usual: dict[str, Any] = {"random": {"rate": RATE.format(_USUAL_FAULTS / scenario.extent.seconds)}}
        timeline = named([*timeline, Entry.model_validate(usual)])
    return scenario.model_copy(update={"timeline": timeline, "expect": Expectation(), "baseline": None})


def _broken(summary: Summary) -> list[str]:
    return [] if summary.verdict == "invalid" else summary.broken


def _said(summary: Summary, broken: list[str]) -> str:
    if broken:
        return "; ".join(broken)
    return f"invalid: {'; '.join(summary.reasons)}" if summary.verdict == "invalid" else "nothing broken"
