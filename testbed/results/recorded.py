"""A run directory read back: what the run gave, prompt by prompt and as a whole."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np
import pyarrow.parquet

from testbed.errors import SpecError
from testbed.results.events import Event
from testbed.results.metrics import Measurements, Metrics

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
        try:
            summary = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
            manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
            lines = (path / "events.jsonl").read_text(encoding="utf-8").splitlines()
            measured = Measurements([json.loads(line) for line in lines], {})
            return cls(
                path,
                scenario=summary["scenario"],
                seed=manifest["seed"],
                prompts=tuple((key, event["owner"], event["text"]) for key, event in measured.prompts.items()),
                columns=_columns(measured)
                | _cpu(path / "samples.parquet", list(measured.prompts.values()), manifest.get("dilation", 1.0)),
                totals=summary["metrics"],
                verdict=summary["verdict"],
                fidelity=summary["fidelity"]["verdict"],
            )
        except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
            raise SpecError.of(path, f"is not the directory of a whole run ({_cause(error)})") from None


def load_runs(paths: Iterable[Path]) -> list[RecordedRun]:
    """The runs in directories, each either of one run or of several; raises SpecError where there is none."""
    return [RecordedRun.load(path) for given in paths for path in _run_directories(given)]


def telling(runs: Iterable[RecordedRun]) -> list[RecordedRun]:
    """Those whose numbers say something: played to their end, on an emulation that was not invalid."""
    return [run for run in runs if run.verdict in ("passed", "failed")]


def _run_directories(path: Path) -> list[Path]:
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


def _cpu(samples: Path, prompts: Sequence[Event], dilation: float) -> dict[str, tuple[float, ...]]:
    """What the kernel counted of each node while its prompts came in, read off between two samples."""
    rows = pyarrow.parquet.read_table(samples, columns=["t", "node", "cpu", "throttled"]).to_pylist()
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
