"""The runs that stand on this host: those that play, and those that were kept."""

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from testbed.core.errors import TestbedError
from testbed.node.config import SOCKET
from testbed.world.journal import Record, is_held, journals, recorded
from testbed.world.nodes.containers import container_name, is_holder
from testbed.world.world import SHARED


class NotStandingError(TestbedError):
    """No standing run, or none of its nodes, fits what was asked for."""

    exit_code = 2


@dataclass(frozen=True)
class StandingRun:
    """A run with a journal. One is ``dead`` if its runner ended without removing what it had made."""

    run: str
    state: Literal["playing", "kept", "dead"]
    nodes: tuple[str, ...]
    directory: Path | None
    """The run directory; None until it is made."""
    since: datetime
    """When the run last made something, or was kept."""

    def container(self, node: str) -> str:
        """The name of a node's container; raises NotStandingError."""
        if node not in self.nodes:
            raise NotStandingError(f"run {self.run} has no node {node!r}; its nodes are {', '.join(self.nodes)}")
        return container_name(self.run, node)

    def socket(self, node: str) -> Path:
        """The socket of the API of a node's agent."""
        return SHARED / self.run / "nodes" / node / SOCKET

    @property
    def row(self) -> tuple[str, str, str, str, str]:
        """For a table: id, state and since when, nodes, directory."""
        directory = "–" if self.directory is None else str(self.directory)
        return self.run, self.state, f"{self.since:%H:%M:%S}", ", ".join(self.nodes), directory

    def as_dict(self) -> dict[str, Any]:
        """The fields for JSON; ``since`` in ISO 8601 with the time zone."""
        directory = None if self.directory is None else str(self.directory)
        return {**asdict(self), "directory": directory, "since": self.since.astimezone().isoformat()}


def standing_runs() -> list[StandingRun]:
    """Every run that has a journal, the oldest first."""
    return sorted(map(_read, journals()), key=lambda run: run.since)


def find_standing(asked: str | None) -> StandingRun:
    """The run with an id or a directory; without one, the only run that was kept, or else the only one that plays.

    Raises NotStandingError if there is none, or several.
    """
    runs = standing_runs()
    if asked is not None:
        found = [run for run in runs if asked == run.run or _is_directory_of(asked, run)]
        if not found:
            raise NotStandingError(f"no run {asked!r} stands on this host; standing are {_listed(runs)}")
        return found[0]
    kept = [run for run in runs if run.state == "kept"]
    candidates = kept or [run for run in runs if run.state == "playing"]
    if not candidates:
        raise NotStandingError("no run stands on this host; start one with: testbed run SCENARIO --keep")
    if len(candidates) > 1:
        raise NotStandingError(f"several runs stand on this host; choose one with --run: {_listed(candidates)}")
    return candidates[0]


def _is_directory_of(asked: str, run: StandingRun) -> bool:
    return run.directory is not None and Path(asked).is_dir() and Path(asked).samefile(run.directory)


def _listed(runs: list[StandingRun]) -> str:
    named = [run.run if run.directory is None else f"{run.run} ({run.directory.name})" for run in runs]
    return ", ".join(named) or "none"


def _read(path: Path) -> StandingRun:
    records = recorded(path)
    prefix = container_name(path.stem, "")
    return StandingRun(
        path.stem,
        _state(path, records),
        tuple(record.name.removeprefix(prefix) for record in records if _is_node(record)),
        next((Path(record.name) for record in records if record.kind == "results"), None),
        datetime.fromtimestamp(path.stat().st_mtime),
    )


def _is_node(record: Record) -> bool:
    return record.kind == "container" and not is_holder(record.name)


def _state(path: Path, records: list[Record]) -> Literal["playing", "kept", "dead"]:
    if is_held(path):
        return "playing"
    return "kept" if any(record.kind == "kept" for record in records) else "dead"
