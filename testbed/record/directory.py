"""The directory that a run leaves. It stands alone: what a run read lies in it, named by relative paths.

``scenario.yaml`` (resolved, so it can be run again), ``inputs/`` (copies of the files that the scenario names),
``manifest.json``, ``events.jsonl``, ``samples.parquet``, ``summary.json``, ``junit.xml``,
``logs/NODE.log`` and ``files/NODE/``.
``report.html`` and ``trace.json`` are made from these (:mod:`testbed.show.report`).
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from testbed.analysis.junit import write_junit
from testbed.analysis.recorded import RUNS
from testbed.analysis.summary import Summary
from testbed.core.errors import SpecError
from testbed.record.inputs import Input, copy_inputs, relocated
from testbed.schema.scenario import Scenario, yaml_text
from testbed.world.nodes.handle import LeavesFiles, NodeHandle


def default_path(scenario: Scenario) -> Path:
    """A path under ``runs/`` with the scenario's name and the time."""
    return Path(RUNS) / f"{scenario.name}-{datetime.now():%Y%m%d-%H%M%S-%f}"


def shared_path(scenario: Scenario, path: Path | None) -> Path:
    """The path of a directory for several runs; raises SpecError if there is anything in it."""
    path = path or default_path(scenario)
    if path.exists() and not (path.is_dir() and _is_empty(path)):
        raise SpecError.of("--out", f"{path} is not empty; name an empty directory, or a new one")
    return path


class RunDirectory:
    """The files of one run, written as they become known."""

    def __init__(self, path: Path, inputs: Sequence[Input] = ()) -> None:
        self.path = path
        self.inputs = inputs

    @classmethod
    def create(cls, scenario: Scenario, path: Path | None) -> "RunDirectory":
        """A new directory at ``path``, or at the default one, with the scenario and the files that it names.

        The baseline is left out: it is an earlier run, whose comparison ``summary.json`` keeps.
        """
        path = path or default_path(scenario)
        try:
            path.mkdir(parents=True, exist_ok=True)
            occupied = not _is_empty(path)
        except OSError as error:
            raise SpecError.of("--out", f"{path} cannot be made ({error.strerror}); name another directory") from None
        if occupied:
            raise SpecError.of("--out", f"{path} is not empty; name an empty directory, or a new one")
        try:
            return cls(path, _write_scenario(scenario, path))
        except OSError as error:
            raise SpecError.of("--out", f"{path} cannot be written ({error.strerror}); name another one") from None

    @property
    def events(self) -> Path:
        """``events.jsonl``"""
        return self.path / "events.jsonl"

    @property
    def samples(self) -> Path:
        """``samples.parquet``"""
        return self.path / "samples.parquet"

    def write_summary(self, summary: Summary) -> None:
        """``summary.json`` and ``junit.xml``."""
        self.write_json("summary.json", summary.as_dict())
        write_junit([summary], self.path / "junit.xml")

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a file that holds one JSON object."""
        (self.path / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def keep_outputs(self, nodes: Mapping[str, NodeHandle]) -> None:
        """Write the output of every node to ``logs/``, and the files that it leaves to ``files/NODE/``."""
        logs = self.path / "logs"
        logs.mkdir(exist_ok=True)
        for name, node in nodes.items():
            (logs / f"{name}.log").write_bytes(node.logs())
            if isinstance(node, LeavesFiles):
                node.keep_files(self.path / "files" / name)

    def moved(self) -> "RunDirectory":
        """The directory after a move to the place of temporary files; raises OSError."""
        path = Path(mkdtemp(prefix=f"testbed-{self.path.name}-"))
        shutil.copytree(self.path, path, dirs_exist_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        return RunDirectory(path, self.inputs)


def _write_scenario(scenario: Scenario, path: Path) -> list[Input]:
    """Write a scenario, and copies of the files that it names, which are returned."""
    inputs = copy_inputs(scenario, path)
    dumped = scenario.model_dump(mode="json", exclude_none=True, exclude={"baseline"})
    text = yaml_text(relocated(dumped, {str(one.source): one.copy for one in inputs}))
    (path / "scenario.yaml").write_text(text, encoding="utf-8")
    return inputs


def _is_empty(directory: Path) -> bool:
    return next(directory.iterdir(), None) is None
