"""A sweep: runs of one scenario at many points, several at each. Runs that have ended are not played again."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

from testbed.analysis.comparison.tradeoff import cost_curve
from testbed.analysis.comparison.visits import Outcome, Visited, write_table
from testbed.analysis.recorded import RUNS
from testbed.core.errors import SpecError, TestbedError
from testbed.run.campaign import Baseline
from testbed.run.checked import load_checked
from testbed.run.orders import Ended, Order, Players
from testbed.schema.keys import full_key
from testbed.schema.points import Point
from testbed.schema.scenario import Scenario, scenario_text, write_scenario
from testbed.show.report import write_sweep
from testbed.show.sweep_figure import draw
from testbed.show.tradeoff_figure import draw as draw_tradeoff
from testbed.show.view import Pace


@dataclass(frozen=True)
class Planned:
    """A run of a sweep, at one point with one seed."""

    point: Point
    scenario: Scenario
    directory: Path

    def order(self, home: str) -> Order:
        """The order to play the run; ``home`` is the name of the host that has played other runs of its seed."""
        return Order(f"{self.point.name}, seed {self.scenario.seed}", self.scenario, self.directory, home)

    def outcome(self) -> Outcome | None:
        """The outcome of the run; None if it has not ended. Raises SpecError if its directory holds another run."""
        if not self.directory.exists():
            return None
        if not self._asked.is_file() or self._asked.read_text(encoding="utf-8") != scenario_text(self.scenario):
            raise SpecError.of(
                "--out", f"{self.directory} is not of this sweep, whose scenario has changed; name another directory"
            )
        return Outcome.load(self.directory, self.scenario.seed)

    def clear(self) -> None:
        """Remove what an interrupted run has left, and write the run's scenario; raises SpecError if that fails."""
        try:
            if self.directory.exists():
                rmtree(self.directory)  # of an interrupted run
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            write_scenario(self.scenario, self._asked)
        except OSError as error:
            raise SpecError.of(
                "--out", f"{error.filename} cannot be written ({error.strerror}); name another directory"
            ) from None

    @property
    def _asked(self) -> Path:
        """The file of the scenario before its run. The one in the run directory has what the run drew, too."""
        return self.directory.with_suffix(".yaml")


class Sweep:
    """The runs of a sweep. Each has the directory ``POINT/seed-N`` below the sweep's."""

    def __init__(
        self, path: Path, assignments: Sequence[str], points: Sequence[Point], repeat: int, out: Path | None
    ) -> None:
        """Plan the runs at ``points``, or else at the file's; raises SpecError with everything that is wrong."""
        base = load_checked(path, assignments)
        points = points or base.sweep or ()
        if not points:
            raise SpecError.of("--grid", f"is missing, and {path} has no `sweep`; write it like --grid layers=0,1,2")
        self.directory = out or Path(RUNS) / f"{base.name}-sweep"
        self._runs = [
            Planned(point, scenario.model_copy(update={"seed": seed, "sweep": None}), directory / f"seed-{seed}")
            for point, scenario in zip(points, _scenarios(path, assignments, points), strict=True)
            for directory in [self.directory / point.directory]
            for seed in range(scenario.seed, scenario.seed + repeat)
        ]
        if len({run.directory for run in self._runs}) < len(self._runs):
            raise SpecError.of("sweep", "has one point twice, or two whose names differ in special characters alone")
        by_baseline = {run.scenario.baseline: run.scenario for run in self._runs}
        self._baselines = {name: Baseline(scenario) for name, scenario in by_baseline.items()}
        self._outcomes = {run.directory: outcome for run in self._runs if (outcome := run.outcome())}
        self.interrupted = False

    @property
    def scenarios(self) -> list[Scenario]:
        """The scenario of each run."""
        return [run.scenario for run in self._runs]

    def play(self, players: Players) -> None:
        """Play the runs that have no outcome; stops if one is interrupted."""
        homes = {outcome.seed: outcome.host for outcome in self._outcomes.values()}
        waiting = {run.directory: run for run in self._runs if run.directory not in self._outcomes}
        for run in waiting.values():
            run.clear()
        orders = [run.order(homes.get(run.scenario.seed, "")) for run in waiting.values()]
        pace = Pace(len(self._runs), len(self._outcomes), sum(order.seconds for order in orders))
        for ended in players.play(orders, pace):
            outcome = self._outcome(ended)
            if outcome is None:
                self.interrupted = True
                return
            assert ended.order.directory is not None
            self._outcomes[ended.order.directory] = outcome

    def _outcome(self, ended: Ended) -> Outcome | None:
        """The outcome of a run, which says why if it could not be played; None if it was interrupted."""
        scenario, result = ended.order.scenario, ended.result
        if isinstance(result, SpecError):  # a wrong option is wrong for all runs
            raise result
        if isinstance(result, TestbedError):
            return Outcome(scenario.seed, "impossible", [str(result)], result.exit_code)
        self._baselines[scenario.baseline].hold([result])
        return Outcome.load(result.directory, scenario.seed)

    def write(self) -> None:
        """Write ``sweep.csv``, ``sweep.parquet``, ``sweep.svg`` and ``sweep.html``, of the points with outcomes."""
        if self.visited:
            write_table(self.visited, self.directory)
            (self.directory / "sweep.svg").write_text(draw(self.visited), encoding="utf-8")
            if (curve := cost_curve(self.visited)) is not None:
                (self.directory / "tradeoff.svg").write_text(draw_tradeoff(*curve), encoding="utf-8")
            write_sweep(self._runs[0].scenario.name, self.visited, self.directory)

    @property
    def exit_code(self) -> int:
        """The highest exit code of all runs."""
        return max((outcome.exit_code for outcome in self._outcomes.values()), default=0)

    @property
    def visited(self) -> list[Visited]:
        """The points with outcomes, each with those of its runs so far."""
        outcomes: defaultdict[str, list[Outcome]] = defaultdict(list)
        points = {run.point.name: run.point for run in self._runs if run.directory in self._outcomes}
        for run in self._runs:
            if run.directory in self._outcomes:
                outcomes[run.point.name].append(self._outcomes[run.directory])
        return [Visited(points[name], found) for name, found in outcomes.items()]


def _scenarios(path: Path, assignments: Sequence[str], points: Sequence[Point]) -> list[Scenario]:
    """The scenario at each point; raises SpecError with everything that is wrong."""
    full_keys = {key: full_key("sweep", key) for point in points for key in point.set}
    short = {full: key for key, full in full_keys.items()}
    for key, full in full_keys.items():
        if short[full] != key:
            raise SpecError.of("sweep", f"`{key}` and `{short[full]}` are the same key; leave one of the two out")
    scenarios, problems = [], []
    for point in points:
        own = [f"{full_keys[key]}={text}" for key, text in point.texts.items()]
        try:
            scenarios.append(load_checked(path, [*assignments, *own]))
        except SpecError as error:
            problems += [
                replace(problem, message=f"with {point.name}: {problem.message}") for problem in error.problems
            ]
    if problems:
        raise SpecError(problems)
    return scenarios
