"""Results in one JSON file, which is rewritten after each part."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import command
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline_table.hops import HopResult
from pipeline_table.kills import KillResult
from pipeline_table.law import LawCell
from pipeline_table.memory import MemoryPoint
from pipeline_table.rpc import RpcResult
from pipeline_table.schedules import ScheduleResult
from testbed.core.errors import SpecError


class HostNote(BaseModel):
    """The host and time of a part's measurement, and its duration in seconds."""

    kernel: str
    cpus: int
    begin: str
    commit: str
    seconds: float

    @classmethod
    def now(cls, seconds: float) -> "HostNote":
        """The note of a measurement of ``seconds`` seconds that ends now."""
        begin = datetime.fromtimestamp(datetime.now(UTC).timestamp() - seconds, UTC)
        return cls(
            kernel=platform.release(),
            cpus=os.cpu_count() or 1,
            begin=begin.isoformat(timespec="minutes"),
            commit=command.commit(),
            seconds=round(seconds),
        )


class Results(BaseModel):
    """The results of all parts, empty if not measured; ``hosts`` has the note of each part."""

    model_config = ConfigDict(extra="forbid")

    hosts: dict[str, HostNote] = {}
    law: list[LawCell] = []
    schedules: list[ScheduleResult] = []
    rpc: list[RpcResult] = []
    memory: list[MemoryPoint] = []
    hops: list[HopResult] = []
    kills: list[KillResult] = []

    @classmethod
    def load(cls, path: Path) -> "Results":
        """The results in a file, empty if there is none; raises SpecError if it has other content."""
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_text())
        except ValidationError:
            raise SpecError.of(path, "holds no results of this benchmark; name another file") from None

    def write(self, path: Path) -> None:
        """Write the results to a file."""
        path.write_text(self.model_dump_json(indent=1) + "\n")
