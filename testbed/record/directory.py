"""The directory that a run leaves.

``scenario.yaml`` (resolved: it can be run again), ``manifest.json``, ``events.jsonl``, ``samples.parquet``,
``summary.json``, ``junit.xml`` and ``logs/NODE.log``. ``report.html`` and ``trace.json`` are made from these
(:mod:`testbed.show.report`).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from testbed.analysis.junit import write_junit
from testbed.analysis.summary import Summary
from testbed.core.errors import SpecError
from testbed.schema.scenario import Scenario, write_scenario
from testbed.world.nodes.container import NodeContainer


def default_path(scenario: Scenario) -> Path:
    """Under ``runs/``, by the scenario's name and the time."""
    return Path("runs") / f"{scenario.name}-{datetime.now():%Y%m%d-%H%M%S-%f}"


def shared_path(scenario: Scenario, path: Path | None) -> Path:
    """A directory for several runs; raises SpecError if there is one already."""
    path = path or default_path(scenario)
    if path.exists():
        raise SpecError.of("--out", f"{path} is there already; name a directory that is not")
    return path


class RunDirectory:
    """The files of one run, written as they become known."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, scenario: Scenario, path: Path | None) -> "RunDirectory":
        """A new directory at ``path``, or else at the default one."""
        path = path or default_path(scenario)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise SpecError.of("--out", f"{path} is there already; name a directory that is not") from None
        except OSError as error:
            raise SpecError.of("--out", f"{path} cannot be made ({error.strerror}); name another directory") from None
        directory = cls(path)
        write_scenario(scenario, path / "scenario.yaml")
        return directory

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
        """A file of one JSON object."""
        (self.path / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @contextmanager
    def keeping_logs(self, nodes: Mapping[str, NodeContainer]) -> Iterator[None]:
        """Write what the nodes' agents printed, however the work within ends."""
        try:
            yield
        finally:
            logs = self.path / "logs"
            logs.mkdir()
            for name, node in nodes.items():
                (logs / f"{name}.log").write_bytes(node.logs())
