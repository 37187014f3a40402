"""What ``import testbed`` offers: run a scenario, read runs, compare them."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow.parquet
from rich.console import Console
from ruamel.yaml import YAML

from testbed.analysis.comparison.changes import MARGIN, Comparison, compare_scenarios
from testbed.analysis.recorded import SUMMARY, RecordedRun, load_manifest, load_runs, run_directories, whole_run
from testbed.analysis.tables import events_table
from testbed.analysis.verdict.fidelity import Mode
from testbed.core.errors import HostError, SpecError, TestbedError
from testbed.host import machine
from testbed.host.process import fit_for_worlds
from testbed.run.campaign import Campaign
from testbed.run.checked import load_checked
from testbed.run.orders import ThisHost
from testbed.run.runner import Options
from testbed.show.live import watching

__all__ = ["Comparison", "Run", "TestbedError", "compare_runs", "read_run", "read_runs", "run_scenario"]

Place = str | PathLike[str]


@dataclass(frozen=True)
class Run:
    """A run, read from its directory alone. No code in the directory is executed.

    A file is read when it is first asked for; every property raises TestbedError if its file is missing or broken.
    docs/results.md defines the events, the columns of the samples and the metrics.
    """

    directory: Path

    @property
    def verdict(self) -> str:
        """``passed``, ``failed``, ``invalid`` or ``interrupted``."""
        return str(self.summary["verdict"])

    @property
    def reasons(self) -> list[str]:
        """Why the run did not pass, as sentences; empty if it passed."""
        return list(self.summary["reasons"])

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the whole run by name, in seconds, bytes and shares from 0 to 1; None where there is none."""
        return dict(self.summary["metrics"])

    @cached_property
    def summary(self) -> dict[str, Any]:
        """``summary.json``."""
        with whole_run(self.directory):
            loaded: dict[str, Any] = json.loads((self.directory / SUMMARY).read_text("utf-8"))
            return loaded

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """``manifest.json``: host, versions, seed, hashes of the models."""
        with whole_run(self.directory):
            return load_manifest(self.directory)

    @cached_property
    def scenario(self) -> dict[str, Any]:
        """``scenario.yaml``: the scenario with its topology and all changes, as plain data."""
        with whole_run(self.directory):
            loaded: dict[str, Any] = YAML(typ="safe").load((self.directory / "scenario.yaml").read_text("utf-8"))
            return loaded

    @cached_property
    def events(self) -> Any:
        """``events.jsonl`` as a ``pyarrow.Table``: a row for each event, a column for each field."""
        with whole_run(self.directory), (self.directory / "events.jsonl").open(encoding="utf-8") as lines:
            return events_table(map(json.loads, lines))

    @cached_property
    def samples(self) -> Any:
        """``samples.parquet`` as a ``pyarrow.Table``: a row for each node and link at each time of sampling."""
        with whole_run(self.directory):
            return pyarrow.parquet.read_table(self.directory / "samples.parquet")


Runs = Run | Place | Iterable[Run | Place]
"""Runs, run directories, or directories that hold run directories."""


# Not `run`: that is the package testbed.run, which the import system makes an attribute of testbed.
def run_scenario(
    scenario: Place,
    changes: Mapping[str, object] | None = None,
    *,
    seed: int | None = None,
    out: Place | None = None,
    links: str | None = None,
    fidelity: Mode = "quick",
) -> Run:
    """Run a scenario file and return the run, whatever its verdict.

    ``changes`` sets keys as ``--set`` does, like ``{"pattern.layers": 0}``. ``seed``, ``out``, ``links`` and
    ``fidelity`` are the options of ``testbed run``. Progress goes to standard error. Raises TestbedError if a file is
    wrong or this host cannot run the scenario, and KeyboardInterrupt if the run was interrupted.
    """
    machine.require_root()
    _require_no_event_loop()
    given = {**(changes or {}), **({} if seed is None else {"seed": seed})}
    assignments = [f"{key}={json.dumps(value, default=str)}" for key, value in given.items()]  # JSON is YAML
    options = Options(None if out is None else Path(out), links, fidelity)
    with fit_for_worlds():
        campaign = Campaign(load_checked(Path(scenario), assignments), options.out)
        campaign.play(ThisHost(options, partial(watching, Console(stderr=True, highlight=False))))
    (summary,) = campaign.summaries
    if summary.interrupted:
        raise KeyboardInterrupt  # the run took the signal for itself; its caller is meant as well
    return Run(summary.directory)


def _require_no_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise HostError(
        "run_scenario cannot run inside an event loop, which a Jupyter cell has; run the scenario by `testbed run` "
        "and read its directory with read_run"
    )


def read_run(directory: Place) -> Run:
    """The run in a run directory; raises TestbedError if it holds no run, several, or one of another format."""
    path = Path(directory)
    found = run_directories(path)
    if found != [path]:
        raise SpecError.of(path, f"holds {len(found)} runs; name one of them, like {found[0]}, or use read_runs")
    return _opened(path)


def read_runs(directory: Place) -> list[Run]:
    """The runs in a directory of ``run --repeat`` or ``sweep``, in the order of their names; raises TestbedError."""
    return [_opened(path) for path in run_directories(Path(directory))]


def _opened(directory: Path) -> Run:
    run = Run(directory)
    _ = run.manifest  # raises for another format
    return run


def compare_runs(base: Runs, new: Runs, margin: float = MARGIN) -> list[Comparison]:
    """Compare runs as ``testbed compare`` does: a comparison for each scenario that both sides have.

    ``margin`` is the share of the base's value that a metric must change by to count. Raises TestbedError if the sides
    share no scenario with a valid run.
    """
    return compare_scenarios(_recorded(base), _recorded(new), margin)


def _recorded(runs: Runs) -> list[RecordedRun]:
    given = [runs] if isinstance(runs, Run | str | PathLike) else runs
    return load_runs(run.directory if isinstance(run, Run) else Path(run) for run in given)
