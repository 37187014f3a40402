"""A sweep of real runs: interrupted, gone on with, and its numbers computed a second time from the events."""

import json
import signal
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pyarrow.csv
import pytest
from observed import GOSSIP, start

SHORT = ("--fidelity", "off", "--set", "workload.count=12", "--set", "workload.arrivals.rate=1/s", "--set", "expect={}")
SWEEP = ("sweep", GOSSIP, *SHORT, "--grid", "layers=0,1")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a sweep that was interrupted in its second run, and then gone on with."""
    directory = tmp_path_factory.mktemp("swept") / "sweep"
    first, second = (directory / point / "seed-7" for point in ("layers=0", "layers=1"))
    process = start(*SWEEP, "--out", directory)
    while not (second / "scenario.yaml").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert pyarrow.csv.read_csv(directory / "sweep.csv").column("layers").to_pylist() == [0]
    played = (first / "summary.json").stat().st_mtime_ns
    process = start(*SWEEP, "--out", directory)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert (first / "summary.json").stat().st_mtime_ns == played
    return directory


def test_a_sweep_that_was_interrupted_has_all_points_in_the_end(swept: Path) -> None:
    rows = pyarrow.csv.read_csv(swept / "sweep.csv").to_pylist()
    assert [(row["layers"], row["passed"], row["inferences"]) for row in rows] == [(0, 1, 12), (1, 1, 60)]
    assert rows[0]["latency.mean"] < rows[1]["latency.mean"]
    assert (swept / "sweep.svg").exists()


def _run(swept: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    run = swept / "layers=1" / "seed-7"
    lines = (run / "events.jsonl").read_text().splitlines()
    return json.loads((run / "summary.json").read_text()), [json.loads(line) for line in lines]


def test_the_load_of_each_node_follows_from_the_events(swept: Path) -> None:
    summary, events = _run(swept)
    times: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for event in events:
        if event["event"] in ("enqueue", "start", "end"):
            times[event["job"]][event["event"]] = event["t"]
    alpha = max(fmean(at["end"] - at["start"] for job, at in times.items() if job.endswith(node)) for node in "abcd")
    for node in "abcd":
        jobs = sorted((at["end"], at["enqueue"], job) for job, at in times.items() if job.endswith(f"@{node}"))
        ends = [0.0, *(end for end, _, _ in jobs)]
        held = {job: end - max(came, before) for (end, came, job), before in zip(jobs, ends, strict=False)}
        answers = [seconds for job, seconds in held.items() if ".1@" in job]
        aggregations = [seconds for job, seconds in held.items() if ".2@" in job]
        queue = summary["nodes"][node]["queue"]
        assert queue["utilisation"] == pytest.approx(1.0 * (4 * fmean(answers) + fmean(aggregations)), rel=1e-6)
        assert queue["theorem"] == pytest.approx(alpha * 5 * 1.0, rel=1e-6)
        for kind, seconds in (("answer", answers), ("aggregation", aggregations)):
            expected = {"count": len(seconds), "mean": fmean(seconds), "deviation": pstdev(seconds)}
            assert queue["services"][kind] == pytest.approx(expected, rel=1e-6)
        last = max(event["t"] for event in events if event["event"] == "prompt")
        came = sum(enqueued <= last for _, enqueued, _ in jobs)
        assert queue["offered"] == pytest.approx(came * fmean(held.values()) / last, rel=1e-6)


def test_the_mean_queue_until_the_last_prompt_follows_from_the_events(swept: Path) -> None:
    summary, events = _run(swept)
    end = max(event["t"] for event in events if event["event"] == "prompt")
    for node in "abcd":
        steps = [(e["t"], {"enqueue": 1, "end": -1}.get(e["event"], 0)) for e in events if e["node"] == node]
        lengths, length = [], 0
        for t, step in [(0.0, 0), *(step for step in steps if 0 <= step[0] < end), (end, 0)]:
            length += step
            lengths.append((t, length))
        area = sum(length * (then - now) for (now, length), (then, _) in pairwise(lengths))
        assert summary["nodes"][node]["queue"]["mean_under_load"] == pytest.approx(area / end, rel=1e-6)


def test_a_run_takes_longer_than_its_replay_by_what_its_links_do_and_more(swept: Path) -> None:
    replay = _run(swept)[0]["replay"]
    assert replay["no_network"] + 0.02 < replay["delays_alone"] <= replay["measured"]
