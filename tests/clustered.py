"""Runs on a cluster whose runner plays nothing: a shell script that copies a run which was made before."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from simulated import write_run

from testbed.analysis.recorded import RunFiles
from testbed.analysis.summary import Summary
from testbed.analysis.verdict.fidelity import Fidelity
from testbed.record.directory import RunDirectory
from testbed.run.cluster import remote
from testbed.schema.scenario import Scenario

_SCRIPT = """\
scenario=$1 out=$3
seed=$(sed -n 's/^seed: //p' "$scenario")
echo "$seed" >>PLACE/began
PLACE/does
cp -r "PLACE/made/$seed" "$out"
exit 0
"""


@dataclass
class PlayedRunner:
    """The script, its runs, and what it does before it copies one. ``began`` are the seeds that it was started with."""

    place: Path

    def make(self, scenario: Scenario, seeds: Sequence[int]) -> None:
        """Make the runs of a scenario."""
        for seed in seeds:
            one = scenario.model_copy(update={"seed": seed})
            directory = RunDirectory.create(one, self.place / "made" / str(seed))
            written = write_run(directory.path / "of", [0.1, 0.2, 0.3], seed)
            for name in ("events.jsonl", "manifest.json", "samples.parquet", "summary.json"):
                (written / name).rename(directory.path / name)
            measured = RunFiles.load(directory.path).measured
            directory.write_summary(Summary(one, "r", directory.path, measured, Fidelity(), {}))

    def command(self, does: str = "") -> list[str]:
        """The command of the runner, which does something with ``$seed`` first."""
        script = self.place / "runner"
        script.write_text(_SCRIPT.replace("PLACE/does", does).replace("PLACE", str(self.place)), encoding="utf-8")
        return ["sh", str(script)]

    @property
    def began(self) -> list[int]:
        """The seeds in the order in which the runner was started with them."""
        path = self.place / "began"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


@dataclass
class ThreadHosts:
    """Hosts that are threads of this process; ``names`` are those that can be reached, by key."""

    names: dict[str, str]
    _executors: dict[str, ThreadPoolExecutor] = field(default_factory=dict)

    def present(self) -> Mapping[str, str]:
        return self.names

    def executor(self, host: str) -> Executor:
        return self._executors.setdefault(host, ThreadPoolExecutor(1))

    def stop(self, campaign: str) -> set[str]:
        return set(self.names) if remote.stop(campaign) else set()


class DaskCluster:
    """A scheduler and workers on addresses of the loopback interface, each of which counts as a host."""

    def __init__(self, folder: Path, hosts: Sequence[str]) -> None:
        self._file = folder / "scheduler.json"
        self._folder = folder
        self.processes = {"": self._start("scheduler", "--host", "127.0.0.1", "--port", "0")}
        self.processes |= {host: self._worker(host) for host in hosts}

    @property
    def address(self) -> str:
        """The address of the scheduler, once it listens."""
        while not self._file.exists():
            assert self.processes[""].poll() is None
            time.sleep(0.05)
        return str(json.loads(self._file.read_text())["address"])

    def close(self) -> None:
        """End all processes."""
        *workers, scheduler = reversed(self.processes.values())
        for process in workers:
            process.terminate()
        for process in workers:
            process.wait()
        scheduler.terminate()
        scheduler.wait()

    def _worker(self, host: str) -> "subprocess.Popen[bytes]":
        only = ("--resources", "testbed=1", "--nthreads", "1", "--local-directory", str(self._folder / host))
        return self._start("worker", "--host", host, *only, "--death-timeout", "120")

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        dask = Path(sys.executable).with_name("dask")
        common = ("--scheduler-file", str(self._file), "--no-dashboard")
        with (self._folder / f"{len(list(self._folder.iterdir()))}.log").open("w") as log:
            return subprocess.Popen([dask, *arguments, *common], stdout=log, stderr=log)
