"""A run directory read back: what the run gave, prompt by prompt and as a whole."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import pyarrow.parquet

from testbed.analysis.events import Event
from testbed.analysis.faults import FaultRecord
from testbed.analysis.metrics import Measurements, Metrics
from testbed.core.errors import SpecError

SUMMARY: Final = "summary.json"

INFERENCE: Final = "inference."
"""``inference.a`` is how long node a takes for one inference."""

CPU: Final = "cpu."
"""``cpu.a`` is the time of a core that node a used."""

BUSY: Final = "busy."
"""``busy.a`` is the time in which node a used ``cpu.a``, and waited behind its cap."""

Key = tuple[str, str, str]
"""A prompt: its number, its owner and its text."""


@dataclass(frozen=True)
class RecordedRun:
    """What is known of a run that is over.

    ``columns`` hold a value for each of ``prompts``, in their order, NaN where there is none: ``latency`` in seconds,
    ``correct`` and ``answered`` as 0 or 1; of each node ``inference.NODE``, the mean seconds that an inference for the
    prompt took it, and ``cpu.NODE`` and ``busy.NODE`` in seconds, from the prompt until the next one. ``totals`` are
    the metrics of the summary.
    """

    path: Path
    scenario: str
    seed: int
    prompts: tuple[Key, ...]
    columns: Mapping[str, tuple[float, ...]]
    totals: Metrics
    verdict: str = "passed"
    fidelity: str = "valid"

    @classmethod
    def load(cls, path: Path) -> "RecordedRun":
        """Read a run directory; raises SpecError if it is none, or not a whole one."""
        with whole_run(path):
            run = RunFiles.load(path)
            prompts = run.measured.prompts
            return cls(
                path,
                scenario=run.summary["scenario"],
                seed=run.manifest["seed"],
                prompts=tuple((key, event["owner"], event["text"]) for key, event in prompts.items()),
                columns=_columns(run.measured)
                | _cpu(run.samples, list(prompts.values()), run.manifest.get("dilation", 1.0)),
                totals=run.summary["metrics"],
                verdict=run.summary["verdict"],
                fidelity=run.summary["fidelity"]["verdict"],
            )


@dataclass(frozen=True)
class RunFiles:
    """What the files of a run directory hold, as they stand there; docs/results.md says what that is."""

    path: Path
    summary: dict[str, Any]
    manifest: dict[str, Any]
    measured: Measurements
    samples: Any
    """The Arrow table of ``samples.parquet``."""

    @classmethod
    def load(cls, path: Path) -> "RunFiles":
        """Read a run directory; to be called within :func:`whole_run`."""
        lines = (path / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return cls(
            path,
            summary=json.loads((path / SUMMARY).read_text(encoding="utf-8")),
            manifest=json.loads((path / "manifest.json").read_text(encoding="utf-8")),
            measured=Measurements([json.loads(line) for line in lines], {}),
            samples=pyarrow.parquet.read_table(path / "samples.parquet"),
        )

    @property
    def faults(self) -> list[FaultRecord]:
        """What became of each entry of the timeline."""
        return [FaultRecord(**fault) for fault in self.summary["faults"]]


@contextmanager
def whole_run(path: Path) -> Iterator[None]:
    """Raise SpecError where what is read within turns out not to be a run directory, or not a whole one."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pyarrow.ArrowException) as error:
        raise SpecError.of(path, f"is not the directory of a whole run ({_cause(error)})") from None


def load_runs(paths: Iterable[Path]) -> list[RecordedRun]:
    """The runs in directories, each either of one run or of several; raises SpecError where there is none."""
    return [RecordedRun.load(path) for given in paths for path in run_directories(given)]


def telling(runs: Iterable[RecordedRun]) -> list[RecordedRun]:
    """Those whose numbers say something: played to their end, on an emulation that was not invalid."""
    return [run for run in runs if run.verdict in ("passed", "failed")]


def run_directories(path: Path) -> list[Path]:
    if not path.is_dir():
        raise SpecError.of(path, "there is no such directory; name a run directory, or one that holds some")
    if (path / SUMMARY).exists():
        return [path]
    found = sorted(summary.parent for summary in path.glob(f"*/{SUMMARY}"))
    found = found or sorted(summary.parent for summary in path.glob(f"*/*/{SUMMARY}"))
    if not found:
        raise SpecError.of(path, f"holds no run; a run directory has a {SUMMARY}")
    return found


def _columns(measured: Measurements) -> dict[str, tuple[float, ...]]:
    by_prompt: dict[str, Mapping[str, float]] = {
        "latency": measured.latencies,
        "correct": {prompt: float(right) for prompt, right in measured.right.items()},
        "answered": {prompt: float(prompt in measured.answers) for prompt in measured.prompts},
        **{f"{INFERENCE}{node}": took for node, took in _inferences(measured.events).items()},
    }
    return {
        name: tuple(values.get(prompt, math.nan) for prompt in measured.prompts) for name, values in by_prompt.items()
    }


def _cpu(samples: Any, prompts: Sequence[Event], dilation: float) -> dict[str, tuple[float, ...]]:
    """What the kernel counted of each node while its prompts came in, read off between two samples."""
    rows = samples.select(["t", "node", "cpu", "throttled"]).to_pylist()
    by_node: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    for row in rows:
        if row["node"] is not None:
            by_node[row["node"]].append(row)
    columns: dict[str, tuple[float, ...]] = {}
    for node, seen in sorted(by_node.items()):
        times = [row["t"] for row in seen]
        edges = [*(prompt["t"] for prompt in prompts), times[-1]]
        cpu = np.diff(np.interp(edges, times, [row["cpu"] for row in seen]))
        behind_cap = np.diff(np.interp(edges, times, [row["throttled"] for row in seen]))
        columns |= {f"{CPU}{node}": tuple(cpu.tolist()), f"{BUSY}{node}": tuple((cpu / dilation + behind_cap).tolist())}
    return columns


def _inferences(events: Iterable[Event]) -> dict[str, dict[str, float]]:
    """By node and prompt, the mean seconds of its inferences."""
    took: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for node, prompt, seconds in _services(events):
        took[node][prompt].append(seconds)
    return {node: {prompt: fmean(seconds) for prompt, seconds in took[node].items()} for node in sorted(took)}


def _services(events: Iterable[Event]) -> Iterator[tuple[str, str, float]]:
    """Node, prompt and seconds of every inference that came to its end."""
    prompts: dict[str, str] = {}
    starts: dict[str, float] = {}
    for event in events:
        match event["event"]:
            case "enqueue":
                prompts[event["job"]] = event.get("prompt", "")  # the API takes jobs of no prompt, too
            case "start":
                starts[event["job"]] = event["t"]
            case "end":
                yield event["node"], prompts[event["job"]], event["t"] - starts[event["job"]]


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{Path(error.filename).name}: {error.strerror}"
    return " ".join(repr(error).split())
