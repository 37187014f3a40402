"""Chaos: random timelines until something breaks that holds of every run, and then the smallest that breaks it."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from testbed.analysis.summary import Summary
from testbed.core.units import RATE
from testbed.record.directory import shared_path
from testbed.run import runner
from testbed.run.campaign import Watch
from testbed.run.shrinking import Timeline, shrink
from testbed.schema.expectation import Expectation
from testbed.schema.scenario import Scenario, write_scenario
from testbed.schema.timeline.entries import Entry, named, timeline_mistakes
from testbed.world.leaks import Possessions

MOST_TRIES: Final = 40
"""Timelines that are tried to find the smallest; a quarter of an hour, where a run takes 20 seconds."""

_USUAL_FAULTS: Final = 4  # in a run whose scenario does not say how many


@dataclass(frozen=True)
class Breach:
    """What broke, as sentences, in a scenario with the smallest timeline that was found; ``path`` is its file."""

    broken: list[str]
    scenario: Scenario
    path: Path
    tries: int

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        seed, smallest = self.scenario.seed, str(self.path)
        return {"broken": self.broken, "seed": seed, "smallest": smallest, "tries": self.tries}


class Chaos:
    """Runs of one scenario, with its seed and those after it, and so with other faults each time.

    ``played`` are those that have been; ``breach`` is what the last one broke, if it did. ``invalid`` are those whose
    emulation broke, tries included: they say nothing.
    """

    def __init__(self, scenario: Scenario, options: runner.Options, watch: Watch, tell: Callable[[str], None]) -> None:
        """``options.out`` is the directory that the runs share; ``tell`` is told what came of each."""
        self._scenario = _chaotic(scenario)
        self._options = options
        self._directory = shared_path(scenario, options.out)
        self._watch = watch
        self._tell = tell
        self.played = 0
        self.invalid = 0
        self.breach: Breach | None = None

    def play(self, runs: int) -> None:
        """Up to so many runs; raises KeyboardInterrupt if one was interrupted."""
        for number in range(runs):
            seed = self._scenario.seed + number
            scenario = self._scenario.model_copy(update={"seed": seed}).drawn()
            broken = self._play(scenario, f"seed-{seed}")
            self.played += 1
            if broken:
                self.breach = self._smallest(scenario, broken)
                return
        with suppress(OSError):  # runs that said nothing are there
            self._directory.rmdir()

    @property
    def exit_code(self) -> int:
        """What the process ends with."""
        if self.breach is not None:
            return 1
        return 4 if self.invalid == self.played else 0

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        breach = None if self.breach is None else self.breach.as_dict()
        return {"scenario": self._scenario.name, "runs": self.played, "invalid": self.invalid, "breach": breach}

    def _smallest(self, scenario: Scenario, broken: list[str]) -> Breach:
        """What breaks a scenario, with the smallest timeline; of those that do, the last to be tried."""
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
        path = self._directory / "smallest.yaml"
        write_scenario(smallest, path)
        return Breach(breach, smallest, path, tries)

    def _play(self, scenario: Scenario, name: str) -> list[str]:
        """What a run breaks. The directory of one that breaks nothing is removed."""
        before = Possessions.now()
        with self._watch(f"{scenario.name}, {name}, {len(scenario.timeline)} faults") as view:
            summary = runner.run(scenario, replace(self._options, out=self._directory / name), view)
        if summary.interrupted:
            raise KeyboardInterrupt
        broken = [*_broken(summary), *before.leaks(summary.run)]
        self._tell(f"{name}: {_said(summary, broken)}")
        self.invalid += summary.verdict == "invalid"
        if not broken and summary.verdict != "invalid":
            shutil.rmtree(summary.directory)
        return broken


def _chaotic(scenario: Scenario) -> Scenario:
    """The same with random faults, its own or else a few of all kinds, and nothing expected but what always holds."""
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
