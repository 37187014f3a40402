"""Runs of the testbed as a user starts them, and what can be seen of them from outside.

Other runs may go on beside them: a user's, another test session's, those of another worker of pytest-xdist. Every
process that this one starts has :data:`SESSION` in its environment, by which it is told from theirs.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

import docker
import psutil
from pyroute2 import netns

from testbed.world.journal import JOURNALS, Journal, journals

PROJECT = Path(__file__).parents[1]
GOSSIP = PROJECT / "scenarios" / "gossip_moa.yaml"

SESSION_VARIABLE = "TESTBED_TEST_SESSION"
SESSION = os.environ[SESSION_VARIABLE] = uuid.uuid4().hex


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

    def seconds_away(self, node: str) -> float:
        """From a node's first end until it was ready again; infinite if it never was.

        Of a node that somebody else restarts, the run may not see the end; the node's last event before counts then.
        """
        own = [event for event in self.events if event["node"] == node]
        ready = [number for number, event in enumerate(own) if event["event"] == "ready"][1:]
        if not ready:
            return inf
        exits = [event["t"] for event in self.events if event["event"] == "exited" and event["who"] == node]
        ended: float = exits[0] if exits else own[ready[0] - 1]["t"]
        return float(own[ready[0]]["t"]) - ended

    def jobs_by_prompt(self) -> dict[str, list[str]]:
        """The jobs that were done for each prompt."""
        jobs = defaultdict(list)
        for event in self.events:
            if event["event"] == "end":
                jobs[event["job"].split(".")[0]].append(event["job"])
        return jobs


def start(*arguments: str | Path, project: Path = PROJECT, **variables: str) -> "subprocess.Popen[str]":
    """Start the command line, of this project or of a copy, with environment variables of its own."""
    command = [sys.executable, "-m", "testbed", *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=project, env=environment
    )


def run_of(runner: "subprocess.Popen[str]") -> str | None:
    """The run that a process holds the journal of; None before it has one."""
    held = (Path(file.path) for file in psutil.Process(runner.pid).open_files())
    return next((path.stem for path in held if path.parent == JOURNALS), None)


_OF_OTHERS = ("veth", "played", "tbnic")
"""How interfaces begin that come and go beside a test: Docker's, and those of boards that another test plays."""


@dataclass(frozen=True)
class Remains:
    """What the runs of this session have on the host, and the host's interfaces."""

    containers: frozenset[str]
    namespaces: frozenset[str]
    interfaces: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]

    @classmethod
    def now(cls) -> "Remains":
        """Those of this moment."""
        foreign = _foreign_runs()
        containers = docker.from_env().containers.list(all=True, ignore_removed=True)
        namespaces = netns.listnetns()
        directories = (Path("/run/testbed"), JOURNALS)
        files = [path for directory in directories if directory.exists() for path in directory.iterdir()]
        processes = frozenset(_own_processes())
        foreign |= _foreign_runs()  # a run may have begun or ended meanwhile

        def of_ours(names: Iterable[str]) -> frozenset[str]:
            return frozenset(name for name in names if name.startswith("tb-") and name.split("-")[1] not in foreign)

        return cls(
            containers=of_ours(container.name for container in containers),
            namespaces=of_ours(namespaces),
            interfaces=frozenset(name for name in psutil.net_if_addrs() if not name.startswith(_OF_OTHERS)),
            processes=processes,
            files=frozenset(str(path) for path in files if path.stem not in foreign),
        )


def own_processes(module: str) -> list[psutil.Process]:
    """The processes of this session that execute a module."""
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if module in (process.info["cmdline"] or ()) and _is_ours(process.pid)]


def container_of(runner: "subprocess.Popen[str]", node: str) -> docker.models.containers.Container:
    """A node's container in the run of a process."""
    return docker.from_env().containers.get(f"tb-{run_of(runner)}-{node}")


def wait_for_stage(runner: "subprocess.Popen[str]", stage: str) -> None:
    """Wait until a run is at a stage, as it prints."""
    assert runner.stdout is not None
    assert any(line.rstrip().endswith(f": {stage}") for line in runner.stdout), "the run ended too soon"


def wait_for_watchers() -> None:
    """Watchers end by themselves once their run is undone; on a busy host that takes a moment."""
    deadline = time.monotonic() + 60
    while any("watcher" in process for process in _own_processes()):
        assert time.monotonic() < deadline, "a watcher does not end"
        time.sleep(0.05)


def _own_processes() -> Iterator[str]:
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if ("testbed.world" in line or "mininet:" in line) and _is_ours(process.pid):
            yield f"{process.pid} {line}"


def _is_ours(pid: int) -> bool:
    try:
        return pid == os.getpid() or psutil.Process(pid).environ().get(SESSION_VARIABLE) == SESSION
    except psutil.Error:
        return False


def _foreign_runs() -> frozenset[str]:
    """Runs whose journal is open in processes of others alone, and runs that were kept."""
    paths = {path: _holders(path) for path in journals()}
    held = {path.stem for path, pids in paths.items() if pids and not any(map(_is_ours, pids))}
    return frozenset(held | {path.stem for path, pids in paths.items() if not pids and _is_kept(path)})


def _holders(journal: Path) -> list[int]:
    """The processes that have a journal open."""
    holders = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it is closed by now
            if descriptor.readlink() == journal:
                holders.append(int(descriptor.parts[2]))
    return holders


def _is_kept(path: Path) -> bool:
    try:
        with path.open() as file:
            return Journal(path, file).kept
    except FileNotFoundError:
        return False
