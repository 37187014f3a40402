"""The gossip Mixture-of-Agents on real containers, links and models."""

import json
from collections import defaultdict
from collections.abc import Callable

import pyarrow.parquet
import pytest
from observed import GOSSIP, PROJECT, FinishedRun
from recounted import differing

Run = Callable[..., FinishedRun]

LINK_DELAY = 0.010  # seconds in one direction, on every link of the home mesh
BUSY = ("--fidelity", "off", "--set", "workload.count=160", "--set", "workload.arrivals.rate=3/s")
UNMEASURED = ("--fidelity", "off")
PATIENT = ("--set", "pattern.timeout=5min")
"""Every neighbour answers, however slow the host, so the answers are those of the seed."""


@pytest.fixture(scope="module")
def gossip(run: Run) -> FinishedRun:
    without_speed = 'expect={completed: ">= 1", accuracy: ">= 0.5"}'
    return run(GOSSIP, *UNMEASURED, "--set", without_speed)


def test_it_passes_and_leaves_its_directory(gossip: FinishedRun) -> None:
    assert gossip.exit_code == 0, gossip.output
    assert gossip.summary["verdict"] == "passed"
    written = {str(path.relative_to(gossip.path)) for path in gossip.path.rglob("*") if path.is_file()}
    assert written == {
        *("scenario.yaml", "manifest.json", "events.jsonl", "samples.parquet", "summary.json", "junit.xml"),
        *("report.html", "trace.json"),
        *(f"logs/{node}.log" for node in "abcd"),
    }


def test_each_number_of_the_summary_follows_from_the_events(gossip: FinishedRun) -> None:
    assert differing(gossip.path) == {}


def test_every_prompt_costs_five_inferences_by_the_nodes_that_were_asked(gossip: FinishedRun) -> None:
    jobs = gossip.jobs_by_prompt()
    owners = {event["prompt"]: event["owner"] for event in gossip.events if event["event"] == "prompt"}
    assert len(owners) == 40
    for prompt, owner in owners.items():
        expected = [*(f"{prompt}.1@{node}" for node in "abcd"), f"{prompt}.2@{owner}"]
        assert sorted(jobs[prompt]) == sorted(expected)


def test_latency_holds_queueing_inference_and_the_delays_on_the_critical_path(gossip: FinishedRun) -> None:
    arrivals, answers = gossip.times("arrival", "prompt"), gossip.times("answer", "prompt")
    enqueued, ended = gossip.times("enqueue", "job"), gossip.times("end", "job")
    there_and_back = 4 * LINK_DELAY
    for prompt, jobs in gossip.jobs_by_prompt().items():
        took = {job: ended[job] - enqueued[job] for job in jobs}
        owner = next(event["owner"] for event in gossip.events if event.get("prompt") == prompt and "owner" in event)
        proposals = (took[job] for job in jobs if job.startswith(f"{prompt}.1") and not job.endswith(f"@{owner}"))
        floor = max(proposals) + there_and_back + took[f"{prompt}.2@{owner}"]
        assert answers[prompt] - arrivals[prompt] >= floor


def test_no_message_arrives_sooner_than_its_links_let_it(gossip: FinishedRun) -> None:
    sent, received = gossip.times("send", "message"), gossip.times("receive", "message")
    first = [message for message in sent if message.endswith(("/request", "/response"))]  # a busy host may need more
    assert len(first) == 40 * 3 * 2
    assert sent.keys() >= received.keys()
    assert min(received[message] - sent[message] for message in received) >= 2 * LINK_DELAY


def test_each_link_carried_the_messages_that_had_to_cross_it(gossip: FinishedRun) -> None:
    least: defaultdict[tuple[str, str], int] = defaultdict(int)
    messages: defaultdict[tuple[str, str], int] = defaultdict(int)
    for event in gossip.events:
        if event["event"] == "send":
            for direction in ((f"{event['node']}-s1", "up"), (f"{event['peer']}-s1", "down")):
                least[direction] += event["bytes"]
                messages[direction] += 1
    for (link, direction), size in least.items():
        carried = gossip.summary["links"][link][direction]
        headers = 700 * messages[link, direction]  # HTTP, TCP and IP; acknowledgements of the other direction
        assert size < carried < size + headers


def test_links_of_nodes_that_were_not_asked_carry_nothing(run: Run) -> None:
    # The links are measured: the acknowledgements of warming up come meanwhile, and not in play.
    alone = run(GOSSIP, "--set", "workload.count=1", "--set", "pattern.proposers=1")
    sends = [event for event in alone.events if event["event"] == "send"]
    assert len(sends) == 2
    involved = {f"{node}-s1" for event in sends for node in (event["node"], event["peer"])}
    for link, traffic in alone.summary["links"].items():
        assert (traffic["up"] + traffic["down"] > 0) == (link in involved)


def test_samples_hold_memory_cpu_and_queue_five_times_a_second(gossip: FinishedRun) -> None:
    table = pyarrow.parquet.read_table(gossip.path / "samples.parquet").to_pylist()
    seconds = max(row["t"] for row in table)
    for node in "abcd":
        rows = [row for row in table if row["node"] == node]
        assert len(rows) >= 5 * (seconds - 1)  # the last one may be late, and those before it are made up for
        assert all(row["memory"] <= row["memory_peak"] <= 160 * 2**20 and row["rss"] > 0 for row in rows)
        assert rows[-1]["cpu"] > rows[0]["cpu"]


def test_the_manifest_names_what_the_run_was_made_of(gossip: FinishedRun) -> None:
    manifest = json.loads((gossip.path / "manifest.json").read_text())
    zoo = json.loads((PROJECT / "testbed" / "models" / "zoo" / "manifest.json").read_text())
    assert manifest["seed"] == 7
    assert manifest["links"] in ("kernel", "userspace")
    assert manifest["models"]["a"]["sha256"] == zoo["alpha"]["sha256"]
    assert manifest["image"]["id"].startswith("sha256:")


def test_the_resolved_scenario_runs_again_with_the_same_prompts(gossip: FinishedRun, run: Run) -> None:
    again = run(gossip.path / "scenario.yaml", *UNMEASURED, "--set", "workload.arrivals.rate=5/s")
    prompts = [[event["text"] for event in one.events if event["event"] == "prompt"] for one in (gossip, again)]
    assert sorted(prompts[0]) == sorted(prompts[1])


def test_asking_around_is_worth_fifteen_points_where_models_differ(run: Run) -> None:
    together, alone = run(GOSSIP, *BUSY, *PATIENT), run(GOSSIP, *BUSY, "--set", "pattern.layers=0")
    assert together.summary["metrics"]["inferences"] == 160 * 5
    assert alone.summary["metrics"]["inferences"] == 160
    assert _accuracy(together) >= _accuracy(alone) + 0.15


def test_asking_around_is_worth_less_where_models_are_equal(run: Run) -> None:
    equal = PROJECT / "scenarios" / "gossip_moa_equal_models.yaml"
    together, alone = run(equal, *BUSY, *PATIENT), run(equal, *BUSY, "--set", "pattern.layers=0")
    assert _accuracy(together) < _accuracy(alone) + 0.15


def _accuracy(run: FinishedRun) -> float:
    return float(run.summary["metrics"]["accuracy"])
