"""Run directories read back: the files of a run, and its numbers prompt by prompt and as a whole.

Nothing but the files of the directory is needed, and no code of theirs is executed: kinds that the run used, such as
its pattern or its metrics, need not be installed.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import pyarrow.parquet
from pydantic import ConfigDict

from testbed.analysis.events import Event
from testbed.analysis.faults import FaultRecord
from testbed.analysis.measurements import Measurements, Metrics
from testbed.core.errors import SpecError
from testbed.core.registry import is_built_in
from testbed.schema.metric import Traits
from testbed.schema.network.node import DEFAULT_KIND, NODE_KINDS, Node
from testbed.schema.network.topology import Topology
from testbed.schema.reading.document import Document

FORMAT: Final = 1
"""The version of the layout of run directories, which ``manifest.json`` has under ``format``."""

RUNS: Final = "runs"
"""The directory below the working directory in which runs are recorded where no other is named."""

SUMMARY: Final = "summary.json"
MANIFEST: Final = "manifest.json"

INFERENCE: Final = "inference."
"""``inference.a`` is the time of one inference of node a, in seconds."""

CPU: Final = "cpu."
"""``cpu.a`` is the CPU time that node a used, in seconds."""

BUSY: Final = "busy."
"""``busy.a`` is the time in which node a used ``cpu.a`` or waited behind its CPU quota, in seconds."""

_SENSOR: Final = "power_sensor"
_ANY_MODEL: Final = "zoo/alpha"

Key = tuple[str, str, str]
"""A prompt: its name, its owner and its text."""


@dataclass(frozen=True)
class RecordedRun:
    """The numbers of a run that is over.

    ``columns`` hold a value for each of ``prompts``, in their order, NaN where there is none: ``latency`` in seconds,
    ``score`` from 0 to 1, ``answered`` as 0 or 1; of each node ``inference.NODE``, the mean time of an inference for
    the prompt, and ``cpu.NODE`` and ``busy.NODE``, counted from the prompt until the next one, all in seconds.
    ``totals`` are the metrics of the summary, ``traits`` say what is known of each.
    """

    path: Path
    scenario: str
    seed: int
    prompts: tuple[Key, ...]
    columns: Mapping[str, tuple[float, ...]]
    totals: Metrics
    verdict: str = "passed"
    fidelity: str = "valid"
    traits: Mapping[str, Traits] = field(default_factory=dict)
    host: str = ""
    """The name of the host that played the run."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """The content of its ``scenario.yaml``."""

    @classmethod
    def load(cls, path: Path) -> "RecordedRun":
        """Read a run directory; raises SpecError if it is incomplete, or of another format."""
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
                traits=run.traits,
                host=host_of(run.manifest),
                written=run.scenario,
            )


@dataclass(frozen=True)
class RunFiles:
    """The files of a run directory; docs/results.md says what they hold."""

    path: Path
    summary: dict[str, Any]
    manifest: dict[str, Any]
    measured: Measurements
    samples: Any
    """The Arrow table of ``samples.parquet``."""
    scenario: Mapping[str, Any]
    """The content of ``scenario.yaml``, whose parts can be of kinds that are not installed."""
    topology: Topology
    """The topology of the scenario."""

    @classmethod
    def load(cls, path: Path) -> "RunFiles":
        """Read a run directory; to be called within :func:`whole_run`."""
        manifest = load_manifest(path)
        lines = (path / "events.jsonl").read_text(encoding="utf-8").splitlines()
        samples = pyarrow.parquet.read_table(path / "samples.parquet")
        scenario = Document.load(path / "scenario.yaml").data
        topology = _topology(scenario["topology"], path)
        return cls(
            path,
            summary=json.loads((path / SUMMARY).read_text(encoding="utf-8")),
            manifest=manifest,
            measured=Measurements(
                [json.loads(line) for line in lines],
                _memory_peaks(samples),
                nodes=topology.nodes,
                energy=_energy(samples, scenario["topology"]["nodes"]),
            ),
            samples=samples,
            scenario=scenario,
            topology=topology,
        )

    @property
    def faults(self) -> list[FaultRecord]:
        """A record for each entry of the timeline."""
        return [FaultRecord(**fault) for fault in self.summary["faults"]]

    @property
    def traits(self) -> dict[str, Traits]:
        """What is known of each metric, by name, in the order of tables."""
        return {name: Traits.of(recorded) for name, recorded in self.summary["traits"].items()}


@contextmanager
def whole_run(path: Path) -> Iterator[None]:
    """Turn the errors of reading an incomplete run directory into SpecError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pyarrow.ArrowException) as error:
        raise SpecError.of(path, f"is not the directory of a whole run ({_cause(error)})") from None


def load_manifest(path: Path) -> dict[str, Any]:
    """``manifest.json`` of a run directory; raises SpecError if the directory has another format."""
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if (found := manifest.get("format", 0)) != FORMAT:
        age = "an older" if isinstance(found, int) and found < FORMAT else "a newer"
        raise SpecError.of(
            path / MANIFEST,
            f"the run was recorded by {age} version of the testbed, in format {found}; this one reads format {FORMAT}, "
            "so run its scenario.yaml again, or read it with that version",
        )
    return manifest


def host_of(manifest: Mapping[str, Any]) -> str:
    """The name of the host that played a run; empty in manifests that name none."""
    return str(manifest.get("host", {}).get("name", ""))


def load_runs(paths: Iterable[Path]) -> list[RecordedRun]:
    """The runs in directories, each of one run or of several; raises SpecError if a directory has none."""
    return [RecordedRun.load(path) for given in paths for path in run_directories(given)]


def telling(runs: Iterable[RecordedRun]) -> list[RecordedRun]:
    """The runs that were played to their end on an emulation that was not invalid."""
    return [run for run in runs if run.verdict in ("passed", "failed")]


def find_run(written: str) -> Path:
    """A directory by its path, or the directory of a run under ``runs/`` by the run's id; raises SpecError."""
    if Path(written).is_dir():
        return Path(written)
    for manifest in chain(*(Path(RUNS).glob(f"{depth}{MANIFEST}") for depth in ("*/", "*/*/", "*/*/*/"))):
        with suppress(OSError, ValueError, AttributeError):
            if json.loads(manifest.read_text(encoding="utf-8")).get("run") == written:
                return manifest.parent
    raise SpecError.of(written, f"there is no such directory, and no run of this id in ./{RUNS}")


def run_directories(path: Path) -> list[Path]:
    """``path`` if it is a run directory, else those one or two levels below it; raises SpecError if there are none."""
    if not path.is_dir():
        raise SpecError.of(path, "there is no such directory; name a run directory, or one that holds some")
    if (path / SUMMARY).exists():
        return [path]
    found = sorted(summary.parent for summary in path.glob(f"*/{SUMMARY}"))
    found = found or sorted(summary.parent for summary in path.glob(f"*/*/{SUMMARY}"))
    if not found:
        raise SpecError.of(path, f"holds no run; a run directory has a {SUMMARY}")
    return found


class RecordedNode(Node):
    """A node of a kind that does not come with the testbed, and need not be installed: what all nodes have."""

    model_config = ConfigDict(extra="allow")


def _topology(recorded: Mapping[str, Any], directory: Path) -> Topology:
    """A recorded topology. Sources of models and kinds of sensors need not be installed: neither is checked."""
    nodes: Mapping[str, Mapping[str, Any]] = recorded["nodes"]
    known = {name: _recorded_node({k: v for k, v in node.items() if k != _SENSOR}) for name, node in nodes.items()}
    topology = Topology.model_validate({**recorded, "nodes": known}, context={"": directory})
    models = {name: {"model": node["model"]} for name, node in nodes.items() if "model" in node}
    restored = {name: node.model_copy(update=models.get(name, {})) for name, node in topology.nodes.items()}
    return topology.model_copy(update={"nodes": restored})


def _recorded_node(written: Mapping[str, Any]) -> Any:
    kind = written.get("kind", DEFAULT_KIND)
    if kind not in NODE_KINDS.names() or not is_built_in(NODE_KINDS.origin(kind)):
        return RecordedNode.model_validate(written)
    return {**written, "model": _ANY_MODEL} if "model" in written else written


def _columns(measured: Measurements) -> dict[str, tuple[float, ...]]:
    by_prompt: dict[str, Mapping[str, float]] = {
        "latency": measured.latencies,
        "score": measured.scores,
        "answered": {prompt: float(prompt in measured.answers) for prompt in measured.prompts},
        **{f"{INFERENCE}{node}": took for node, took in _inferences(measured).items()},
    }
    return {
        name: tuple(values.get(prompt, math.nan) for prompt in measured.prompts) for name, values in by_prompt.items()
    }


def _inferences(measured: Measurements) -> dict[str, dict[str, float]]:
    """By node and prompt, the mean time of an inference in seconds."""
    took: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for job in measured.jobs:
        if job.text is not None and job.started is not None and job.ended is not None:
            took[job.node][job.prompt].append(job.ended - job.started)
    return {node: {prompt: fmean(seconds) for prompt, seconds in took[node].items()} for node in sorted(took)}


def _memory_peaks(samples: Any) -> dict[str, int]:
    """The highest memory peak of each node in bytes. A node that is started again begins with a new peak."""
    rows = samples.select(["node", "memory_peak"]).drop_null()
    peaks = rows.group_by("node").aggregate([("memory_peak", "max")])
    return dict(zip(peaks["node"].to_pylist(), peaks["memory_peak_max"].to_pylist(), strict=True))


def _energy(samples: Any, nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """What the power sensors of nodes told; earlier versions of the testbed had none."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name, node in nodes.items() if node.get(_SENSOR)}
    if found:
        for row in samples.select(["t", "node", "joules"]).drop_null().to_pylist():
            found[row["node"]].append((row["t"], row["joules"]))
    return found


def _cpu(samples: Any, prompts: Sequence[Event], dilation: float) -> dict[str, tuple[float, ...]]:
    """CPU time and busy time of each node from prompt to prompt, interpolated between samples."""
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


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{Path(error.filename).name}: {error.strerror}"
    return " ".join(repr(error).split())
