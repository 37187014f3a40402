"""Runs that were never played: their numbers are drawn, so that the truth about them is known."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow
import pyarrow.parquet

from testbed.analysis.distributions import percentile
from testbed.analysis.recorded import FORMAT, RecordedRun
from testbed.schema.metric import metrics

NODES = "abcd"
TRAITS = {name: metric.traits for name, metric in metrics()[0].items()}
RUN_TO_RUN = 0.02  # standard deviation of a run's own factor: the same host is not as fast every time


def simulated_run(
    seed: int, history: random.Random, prompts: int = 40, inference: float = 0.040, slow: dict[str, float] | None = None
) -> RecordedRun:
    """A run whose every prompt costs an inference on each of four nodes, and one more on its owner.

    What the prompts need follows from ``seed``; what chance adds comes from ``history``, another one in every run.
    ``slow`` are factors of nodes' inference times.
    """
    needs, pace = random.Random(f"needs {seed}"), history.gauss(1, RUN_TO_RUN)
    columns: dict[str, list[float]] = {name: [] for name in ("latency", "score", "answered")}
    columns |= {f"{kind}.{node}": [] for node in NODES for kind in ("inference", "cpu", "busy")}
    keys = []
    for number in range(prompts):
        owner, need = needs.choice(NODES), inference * needs.lognormvariate(0, 0.4)
        keys.append((f"p{number}", owner, f"question {needs.random()}"))
        took = {node: need * pace * history.lognormvariate(0, 0.3) * (slow or {}).get(node, 1.0) for node in NODES}
        for node, seconds in took.items():
            columns[f"inference.{node}"].append(seconds)
            columns[f"cpu.{node}"].append(need / 3)
            columns[f"busy.{node}"].append(seconds)
        columns["latency"].append(0.05 + max(took.values()) + took[owner] + needs.expovariate(20))
        columns["score"].append(float(history.random() < 0.7))
        columns["answered"].append(1.0)
    busy = fmean(columns["latency"])
    totals: dict[str, float | None] = {
        "prompts": prompts,
        "inferences": 5 * prompts,
        "latency.p95": percentile(columns["latency"], 0.95),
        "queue.mean": busy * history.gauss(1, 0.1),
        "queue.max": history.choice([2, 3, 3, 4]),
        "tokens_per_second": 40 * history.gauss(1, 0.01),
        "bytes_on_links": 137_000 + history.randrange(2000),
        "memory.peak": 60_000_000 + history.randrange(4_000_000),
    }
    observed = {name: tuple(values) for name, values in columns.items()}
    return RecordedRun(Path(f"seed-{seed}"), "simulated", seed, tuple(keys), observed, totals, traits=TRAITS)


def simulated_runs(
    seeds: Sequence[int], history: random.Random, slow: dict[str, float] | None = None, prompts: int = 40
) -> list[RecordedRun]:
    """A run for each seed."""
    return [simulated_run(seed, history, prompts, slow=slow) for seed in seeds]


TOPOLOGY = "{name: simulated, nodes: {a: {model: zoo/alpha, cpus: 0.3, memory: 160MiB}}}"


def write_run(
    directory: Path, latencies: Sequence[float | None], seed: int = 7, fidelity: str = "valid", verdict: str = "passed"
) -> Path:
    """The directory of a run at whose only node each prompt took so many seconds, or had no answer."""
    events: list[dict[str, Any]] = [{"t": -1.0, "node": "a", "event": "ready", "load_seconds": 1.0}]
    for number, latency in enumerate(latencies, 1):
        prompt, job, t = f"p{number}", f"p{number}.1@a", 10.0 * number
        text, truth = f"question {number} of {seed}", "Rome"
        events += [
            {"t": t, "node": "", "event": "prompt", "prompt": prompt, "owner": "a", "text": text, "truth": truth},
            {"t": t, "node": "a", "event": "arrival", "prompt": prompt},
        ]
        if latency is None:
            events.append({"t": t + 1, "node": "a", "event": "failed", "prompt": prompt, "reason": "lost"})
            continue
        events += [
            {
                "t": t,
                "node": "a",
                "event": "enqueue",
                "job": job,
                "prompt": prompt,
                "layer": "1",
                "role": "answer",
                "owner": "a",
            },
            {"t": t, "node": "a", "event": "start", "job": job},
            {
                "t": t + latency,
                "node": "a",
                "event": "end",
                "job": job,
                "prompt_tokens": 9,
                "tokens": 4,
                "text": "Rome",
            },
            {"t": t + latency, "node": "a", "event": "answer", "prompt": prompt, "text": "Rome, sure"},
            {"t": t + latency, "node": "", "event": "score", "prompt": prompt, "scorer": "exact", "value": 1.0},
        ]
    times = [0.0, 10.0 * len(latencies) + 10]
    samples = {"t": times, "node": ["a", "a"], "cpu": [0.0, 4.0], "throttled": [0.0, 8.0], "memory_peak": [1, 2]}
    summary = {
        "scenario": "simulated",
        "verdict": verdict,
        "fidelity": {"verdict": fidelity},
        "metrics": {"prompts": len(latencies), "queue.mean": 0.1},
        "traits": {name: traits.as_dict() for name, traits in TRAITS.items()},
    }
    directory.mkdir(parents=True)
    (directory / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.table(samples), directory / "samples.parquet")
    (directory / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (directory / "manifest.json").write_text(json.dumps({"format": FORMAT, "seed": seed}), encoding="utf-8")
    (directory / "scenario.yaml").write_text(f"topology: {TOPOLOGY}\n", encoding="utf-8")
    return directory
