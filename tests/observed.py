"""Runs of the testbed as a user starts them, and what can be seen of them from outside."""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import docker
import psutil
from pyroute2 import netns

from testbed.world.journal import JOURNALS

PROJECT = Path(__file__).parents[1]
GOSSIP = PROJECT / "scenarios" / "gossip_moa.yaml"


@dataclass(frozen=True)
class FinishedRun:
    """A run directory."""

    path: Path
    exit_code: int
    output: str

    @cached_property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.path / "summary.json").read_text())

    @property
    def failed(self) -> list[str]:
        """The metrics whose expectations did not hold."""
        return [one["metric"] for one in self.summary["expectations"] if not one["held"]]

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "events.jsonl").read_text().splitlines()]

    def times(self, event: str, key: str) -> dict[str, float]:
        """When an event happened, by what it happened to."""
        return {entry[key]: entry["t"] for entry in self.events if entry["event"] == event}

    def jobs_by_prompt(self) -> dict[str, list[str]]:
        """The jobs that were done for each prompt."""
        jobs = defaultdict(list)
        for event in self.events:
            if event["event"] == "end":
                jobs[event["job"].split(".")[0]].append(event["job"])
        return jobs


def start(*arguments: str | Path, project: Path = PROJECT) -> "subprocess.Popen[str]":
    """Start the command line, of this project or of a copy."""
    command = [sys.executable, "-m", "testbed", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=project)


def run_of(runner: "subprocess.Popen[str]") -> str | None:
    """The run that a process holds the journal of; None before it has one."""
    held = (Path(file.path) for file in psutil.Process(runner.pid).open_files())
    return next((path.stem for path in held if path.parent == JOURNALS), None)


@dataclass(frozen=True)
class Remains:
    """What runs may leave on a host; what has another name is somebody else's."""

    containers: frozenset[str]
    namespaces: frozenset[str]
    interfaces: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]

    @classmethod
    def now(cls) -> "Remains":
        client = docker.from_env()
        directories = (Path("/run/testbed"), Path("/var/lib/testbed/runs"))
        return cls(
            containers=frozenset(
                container.name
                for container in client.containers.list(all=True, ignore_removed=True)
                if container.name.startswith("tb-")
            ),
            namespaces=frozenset(name for name in netns.listnetns() if name.startswith("tb-")),
            interfaces=frozenset(psutil.net_if_addrs()),
            processes=frozenset(_own_processes()),
            files=frozenset(
                str(path) for directory in directories if directory.exists() for path in directory.iterdir()
            ),
        )


def wait_for_watchers() -> None:
    """Watchers end by themselves once their run is undone; on a busy host that takes a moment."""
    deadline = time.monotonic() + 10
    while any("watcher" in process for process in Remains.now().processes):
        assert time.monotonic() < deadline, "a watcher does not end"


def _own_processes() -> Iterator[str]:
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "testbed.world" in line or "mininet:" in line or "testbed.node" in line:
            yield f"{process.pid} {line}"
