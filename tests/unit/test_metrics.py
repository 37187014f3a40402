"""The numbers of a run against ones worked out by hand."""

import math
import random
from fractions import Fraction
from itertools import pairwise
from statistics import fmean
from typing import Any

import pytest

from testbed.analysis.distributions import percentile, wilson_interval
from testbed.analysis.events import HOST, Event
from testbed.analysis.measurements import Measurements, Scope
from testbed.analysis.nodes import node_figures
from testbed.schema.metric import metrics


def _event(t: float, node: str, event: str, **fields: Any) -> Event:
    return {"t": t, "node": node, "event": event, **fields}


def _score(t: float, prompt: str, value: float | None) -> Event:
    return _event(t, HOST, "score", prompt=prompt, scorer="exact", version="1", value=value, reason=None)


def _job(node: str, job: str, enqueue: float, start: float, end: float, tokens: int = 4) -> list[Event]:
    return [
        _event(enqueue, node, "enqueue", job=job),
        _event(start, node, "start", job=job),
        _event(end, node, "end", job=job, tokens=tokens, prompt_tokens=9, text="x"),
    ]


def _measure(*events: Event | list[Event], peaks: dict[str, int] | None = None) -> Measurements:
    flat = [event for part in events for event in (part if isinstance(part, list) else [part])]
    return Measurements(sorted(flat, key=lambda event: event["t"]), peaks or {})


@pytest.fixture
def run() -> Measurements:
    """Two nodes and ten seconds.

    a: job 1 waits 0 s and runs 1–3, job 2 comes at 2 and runs 3–5: its queue is 1 for 1 s, 2 for 1 s, 1 for 2 s.
    b: one job, 6–10: its queue is 1 for 4 s.
    """
    return _measure(
        _event(-1, "a", "ready", load_seconds=1),
        _event(-1, "b", "ready", load_seconds=1),
        _event(0, HOST, "traffic", links={"a-s1": {"up": 100, "down": 50}, "b-s1": {"up": 7, "down": 0}}),
        _event(1, HOST, "prompt", prompt="p1", owner="a", text="?", truth="Rome"),
        _event(1, "a", "arrival", prompt="p1"),
        _job("a", "p1.1@a", 1, 1, 3),
        _event(3, "a", "answer", prompt="p1", text="Rome, sure"),
        _score(3, "p1", 1.0),
        _event(2, HOST, "prompt", prompt="p2", owner="a", text="?", truth="Oslo"),
        _event(2, "a", "arrival", prompt="p2"),
        _job("a", "p2.1@a", 2, 3, 5, tokens=6),
        _event(5, "a", "answer", prompt="p2", text="Bern, maybe"),
        _score(5, "p2", 0.0),
        _event(6, HOST, "prompt", prompt="p3", owner="b", text="?", truth="Kyiv"),
        _event(6, "b", "arrival", prompt="p3"),
        _job("b", "p3.1@b", 6, 6, 10, tokens=10),
        _event(10, "b", "answer", prompt="p3", text="Kyiv"),
        _score(10, "p3", 1.0),
        _event(12, HOST, "traffic", links={"a-s1": {"up": 1100, "down": 250}, "b-s1": {"up": 7, "down": 30}}),
        peaks={"a": 3000, "b": 5000},
    )


def test_an_answer_to_a_prompt_without_a_truth_is_neither_right_nor_wrong() -> None:
    def answered(prompt: str, truth: str | None) -> list[Event]:
        value = None if truth is None else 1.0
        return [
            _event(1, HOST, "prompt", prompt=prompt, owner="a", text="?", truth=truth),
            _event(1, "a", "arrival", prompt=prompt),
            _event(3, "a", "answer", prompt=prompt, text="Rome, sure"),
            _score(3, prompt, value),
        ]

    nobody_knows = _measure(answered("p1", None))
    assert nobody_knows.metrics()["accuracy"] is None
    assert nobody_knows.metrics()["completed"] == 1
    assert _measure(answered("p1", None), answered("p2", "Rome")).scores == {"p2": 1.0}


def test_the_metrics_of_a_small_run(run: Measurements) -> None:
    assert run.metrics() == {
        "accuracy": pytest.approx(2 / 3),
        "completed": 1.0,
        "prompts": 3,
        "inferences": 3,
        "latency.mean": pytest.approx(3.0),
        "latency.p50": 3,
        "latency.p95": 4,
        "latency.p99": 4,
        "queue.mean": pytest.approx((0.6 - 0.1 + 0.4) / 2),
        "queue.max": 2,
        "tokens_per_second": 2.0,
        "bytes_on_links": 1000 + 200 + 30,
        "bytes_per_token": (1000 + 200 + 30) / 20,
        "memory.peak": 5000,
        "retries": 0,
        "duplicates": 0,
        "late": 0,
        "rejected": 0,
        "dropped": 0,
        "frames_rejected": 0,
        "unauthenticated": 0,
        "capture.readable": None,
        **{
            f"{name}.{share}": None
            for name in ("ttft", "calls.ttft", "tpot")
            for share in ("mean", "p50", "p95", "p99")
        },
        **dict.fromkeys(("itl.mean", "slo_attainment", "goodput"), None),  # no token has a time
        "tokens_read": 3 * 9,
        "tokens_written": 20,
        **dict.fromkeys(("offload", "cost", "energy"), None),  # the topology says nothing of them
        **{f"{name}.{tier}": None for name in ("tokens", "cost", "energy") for tier in ("device", "edge", "cloud")},
        **{f"energy.{name}": None for name in ("joules", "joules_per_prompt", "joules_per_token")},  # nor any sensor
        **dict.fromkeys(("agreement", "oracle", "flips.right", "flips.wrong"), None),  # no prompt has two answers
        "exposures": None,  # no text was watched
        **{f"exclusion.{name}": None for name in ("precision", "recall", "time", "prompts")},
        "asr": None,  # nobody lied
        "forged": None,
        "foreign_models": None,  # nor swapped a model
    }


def test_the_metrics_are_those_that_can_be_expected(run: Measurements) -> None:
    assert list(run.metrics()) == list(metrics()[0])


def test_the_nodes_of_a_small_run(run: Measurements) -> None:
    assert node_figures(run) == {
        "a": {
            "state": "running",
            "inferences": 2,
            "tokens": 10,
            "busy_seconds": 4,
            "writing_rate": None,
            "queue": {"mean": pytest.approx((1 + 2 + 2) / 10), "max": 2},
            "memory": {"peak": 3000},
            "energy": {"joules": None},
        },
        "b": {
            "state": "running",
            "inferences": 1,
            "tokens": 10,
            "busy_seconds": 4,
            "writing_rate": None,
            "queue": {"mean": pytest.approx(0.4), "max": 1},
            "memory": {"peak": 5000},
            "energy": {"joules": None},
        },
    }


def test_a_node_writes_from_the_first_token_of_each_answer_to_its_last() -> None:
    run = _measure(
        _event(-1, "a", "ready", load_seconds=1),
        *(_event(0.5, "a", "start", job=job) for job in ("j1", "j2", "j3")),
        _event(1.0, "a", "first_token", job="j1"),
        _event(2.0, "a", "end", job="j1", tokens=5, stopped=False, prompt_tokens=9, text="x"),  # four more in a second
        _event(3.0, "a", "first_token", job="j2"),
        _event(4.0, "a", "end", job="j2", tokens=2, stopped=True, prompt_tokens=9, text="x"),  # one, and the end
        _event(5.0, "a", "first_token", job="j3"),
        _event(5.5, "a", "job_failed", job="j3", reason="x"),
    )
    assert node_figures(run)["a"]["writing_rate"] == pytest.approx((4 + 2) / 2)


def test_traffic_is_what_was_carried_during_play(run: Measurements) -> None:
    assert run.traffic == {"a-s1": {"up": 1000, "down": 200}, "b-s1": {"up": 0, "down": 30}}


def test_a_run_with_failures_counts_them_and_goes_by_what_was_answered() -> None:
    run = _measure(
        _event(-1, "a", "ready", load_seconds=1),
        *(_event(1, HOST, "prompt", prompt=f"p{n}", owner="a", text="?", truth="Rome") for n in (1, 2, 3, 4)),
        *(_event(1, "a", "arrival", prompt=f"p{n}") for n in (1, 2, 3)),
        _job("a", "p1.1@a", 1, 1, 2),
        _event(2, "a", "answer", prompt="p1", text="Rome"),
        _score(2, "p1", 1.0),
        _event(1, "a", "enqueue", job="p2.1@a"),
        _event(2, "a", "start", job="p2.1@a"),
        _event(3, "a", "job_failed", job="p2.1@a", reason="too long"),
        _event(3, "a", "failed", prompt="p2", reason="too long"),
        _event(3, "a", "enqueue", job="p3.1@a"),
        _event(3, "a", "start", job="p3.1@a"),
        _event(4, HOST, "exited", who="a", reason="out of memory"),
        _event(4, HOST, "lost", prompt="p3", reason="a: out of memory"),
        _event(4, HOST, "lost", prompt="p4", reason="a: out of memory"),
    )
    metrics = run.metrics()
    assert run.failures == {"p2": "too long", "p3": "a: out of memory", "p4": "a: out of memory"}
    assert (metrics["accuracy"], metrics["completed"], metrics["inferences"]) == (1.0, 0.25, 1)
    assert (metrics["latency.mean"], metrics["latency.p99"]) == (1, 1)
    assert metrics["queue.mean"] == pytest.approx((2 + 1) / 3)
    node = node_figures(run)["a"]
    assert (node["state"], node["queue"]["max"], node["inferences"]) == ("out of memory", 2, 1)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [_event(-1.5, "a", "ready", load_seconds=1)],
        [_event(0, HOST, "traffic", links={"a-s1": {"up": 1, "down": 1}})],
    ],
    ids=["nothing", "ready alone", "traffic once"],
)
def test_an_empty_run_has_no_numbers_rather_than_wrong_ones(events: list[Event]) -> None:
    run = _measure(*events)
    metrics = run.metrics()
    for name in ("accuracy", "completed", "latency.mean", "latency.p95", "tokens_per_second", "memory.peak"):
        assert metrics[name] is None
    assert (metrics["prompts"], metrics["inferences"], metrics["bytes_on_links"]) == (0, 0, 0)
    assert run.duration == 0


def test_what_a_node_did_before_play_is_not_in_its_queue() -> None:
    run = _measure(
        _job("a", "warm-up", -3, -3, -2),
        _event(-1, "a", "ready", load_seconds=1),
        _job("a", "p1.1@a", 2, 2, 4),
    )
    assert run.queues()["a"].mean == pytest.approx(0.5)
    assert run.queues()["a"].max == 1


def test_a_job_still_at_work_at_the_end_counts_until_then() -> None:
    run = _measure(
        _event(-1, "a", "ready", load_seconds=1), _event(1, "a", "enqueue", job="x"), _event(4, "a", "start", job="x")
    )
    assert run.queues()["a"].mean == pytest.approx(3 / 4)


@pytest.mark.parametrize("seed", range(10))
def test_the_mean_queue_obeys_littles_law(seed: int) -> None:
    """The time-averaged length is the sum of the times that jobs spent in the queue over the duration."""
    draw = random.Random(seed)
    now, free, events, spent = 0.0, 0.0, [_event(-1, "a", "ready", load_seconds=1)], 0.0
    for number in range(40):
        now += draw.expovariate(1)
        start = max(now, free)
        free = start + draw.expovariate(1.2)
        spent += free - now
        events += _job("a", f"j{number}", now, start, free)
    assert _measure(events).queues()["a"].mean == pytest.approx(spent / free)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.05, 15), (0.30, 20), (0.40, 20), (0.50, 35), (0.95, 50), (1.00, 50), (0.0, 15)]
)
def test_percentiles_by_nearest_rank(share: float, expected: float) -> None:
    """The worked example of the nearest-rank method: 15, 20, 35, 40, 50."""
    assert percentile([40, 15, 50, 20, 35], share) == expected


@pytest.mark.parametrize("share", ["0.5", "0.95", "0.99"])
def test_percentiles_agree_with_exact_arithmetic(share: str) -> None:
    for count in range(1, 400):
        rank = math.ceil(Fraction(share) * count)
        assert percentile(range(1, count + 1), float(share)) == rank


def test_nothing_has_no_percentile() -> None:
    assert percentile([], 0.5) is None


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_the_wilson_interval_against_published_values(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_the_wilson_interval_never_leaves_zero_to_one() -> None:
    for trials in range(1, 500):
        for successes in (0, trials):
            low, high = wilson_interval(successes, trials) or (-1.0, 2.0)
            assert 0 <= low < high <= 1


def test_no_trials_have_no_interval() -> None:
    assert wilson_interval(0, 0) is None


def test_what_waits_at_a_node_that_ends_waits_no_longer() -> None:
    run = _measure(
        _event(-1, "a", "ready", load_seconds=1),
        _event(-1, "b", "ready", load_seconds=1),
        _event(0, "a", "enqueue", job="p1.1@a"),
        _event(1, HOST, "exited", who="a", reason="out of memory"),
        _job("b", "p2.1@b", 0, 0, 10),
    )
    assert run.queues()["a"].mean == pytest.approx(0.1)


def test_a_job_that_was_dropped_waits_no_longer_and_what_was_refused_never_did() -> None:
    run = _measure(
        _event(-1, "a", "ready", load_seconds=1),
        _job("a", "p1.1@a", 0, 0, 10),
        _event(0, "a", "enqueue", job="p2.1@a"),
        _event(5, "a", "dropped", job="p2.1@a"),
        _event(6, "a", "rejected", job="p3.1@a"),
    )
    assert (run.queues()["a"].mean, run.queues()["a"].max) == (pytest.approx(1.5), 2)
    assert (run.metrics()["dropped"], run.metrics()["rejected"]) == (1, 1)


def test_a_node_that_is_started_again_has_an_empty_queue_and_keeps_its_past() -> None:
    run = _measure(
        _event(-1, "a", "ready", load_seconds=1),
        _event(0, "a", "enqueue", job="p1.1@a"),
        _event(2, HOST, "exited", who="a", reason="ended with code 137"),
        _event(5, "a", "ready", load_seconds=1),
        _job("a", "p1.1@a", 6, 6, 10),
    )
    assert (run.queues()["a"].mean, run.queues()["a"].max) == (pytest.approx((2 + 4) / 10), 1)


def test_an_answer_that_comes_after_its_prompt_was_lost_is_none() -> None:
    run = _measure(
        _event(0, HOST, "prompt", prompt="p1", owner="a", text="?", truth="Rome"),
        _event(0, "a", "arrival", prompt="p1", text="?"),
        _event(5, HOST, "lost", prompt="p1", reason="a: does not answer"),
        _event(9, "a", "answer", prompt="p1", text="Rome"),
    )
    assert run.metrics()["completed"] == 0
    assert run.failures == {"p1": "a: does not answer"}


@pytest.fixture
def long_run() -> Measurements:
    """Three nodes and a minute of jobs that are drawn."""
    draw, events = random.Random(5), [_event(-1, node, "ready", load_seconds=1) for node in "abc"]
    for node in "abc":
        now = free = 0.0
        for number in range(30):
            now += draw.expovariate(0.6)
            free = max(now, free) + draw.expovariate(0.8)
            prompt = f"p{number}{node}"
            events += [
                _event(now, HOST, "prompt", prompt=prompt, owner=node, text="?", truth="Rome"),
                _event(now, node, "arrival", prompt=prompt),
                *_job(node, f"{prompt}.1@{node}", now, now, free),
                _event(free, node, draw.choice(["retry", "late"])),
                _event(free, node, "answer", prompt=prompt, text="Rome"),
                _score(free, prompt, 1.0),
            ]
    return _measure(events, peaks={"a": 1, "b": 3, "c": 2})


CUTS = [-math.inf, 3.0, 17.5, 18.0, 40.0, math.inf]


def test_what_is_counted_in_parts_adds_up_to_the_whole(long_run: Measurements) -> None:
    whole = long_run.metrics()
    windows = [long_run.metrics(Scope(begin, end)) for begin, end in pairwise(CUTS)]
    nodes = [long_run.metrics(Scope(nodes={node})) for node in "abc"]
    for name in ("prompts", "inferences", "retries", "late"):
        assert sum(part[name] or 0 for part in windows) == whole[name]
        assert sum(part[name] or 0 for part in nodes) == whole[name]


def test_the_mean_queue_of_parts_averages_to_that_of_the_whole(long_run: Measurements) -> None:
    whole = long_run.metrics()
    windows = {(begin, end): long_run.metrics(Scope(begin, end)) for begin, end in pairwise(CUTS)}
    lengths = {(begin, end): min(end, long_run.duration) - max(0.0, begin) for begin, end in windows}
    for name in ("queue.mean", "tokens_per_second"):
        parts = sum((windows[window][name] or 0) * lengths[window] for window in windows)
        assert parts / long_run.duration == pytest.approx(whole[name])
    assert max(part["queue.max"] or 0 for part in windows.values()) == whole["queue.max"]
    nodes = [long_run.metrics(Scope(nodes={node})) for node in "abc"]
    assert fmean(part["queue.mean"] or 0 for part in nodes) == pytest.approx(whole["queue.mean"])


def test_a_prompt_belongs_to_its_owner_and_to_when_it_was_handed_over(run: Measurements) -> None:
    """p1 comes at 1 s, p2 at 2 s, both to a; p3 at 6 s to b, and ends at 10 s."""
    early, late = run.metrics(Scope(0, 2)), run.metrics(Scope(2, 7, {"b"}))
    assert (early["prompts"], early["latency.mean"], early["accuracy"]) == (1, 2, 1)
    assert (late["prompts"], late["completed"], late["latency.p99"], late["inferences"]) == (1, 1, 4, 0)


def test_a_queue_that_was_filled_before_a_window_is_as_long_in_it(run: Measurements) -> None:
    """a's queue is 2 from 2 s to 3 s, and 1 until 5 s."""
    part = run.metrics(Scope(2.5, 4, {"a"}))
    assert (part["queue.max"], part["queue.mean"]) == (2, pytest.approx((0.5 * 2 + 1) / 1.5))


def test_what_is_known_only_of_the_whole_has_no_value_in_a_part(run: Measurements) -> None:
    window, node = run.metrics(Scope(1, 2)), run.metrics(Scope(nodes={"a"}))
    assert (window["bytes_on_links"], window["memory.peak"]) == (None, None)
    assert (node["bytes_on_links"], node["memory.peak"]) == (None, 3000)


def test_a_node_of_a_ring_is_busy_while_its_stage_computes() -> None:
    events = [
        _event(0, "a", "ready"),
        _event(0, "b", "ready"),
        _event(1, "a", "start", job="p1.1@a"),
        _event(2, "a", "computed", rows=4, seconds=0.5),
        _event(3, "b", "computed", rows=4, seconds=0.25),
        _event(4, "b", "computed", rows=1, seconds=0.25),
        _event(9, "a", "end", job="p1.1@a", tokens=1),
    ]
    nodes = node_figures(Measurements(events, {}))
    assert {name: node["busy_seconds"] for name, node in nodes.items()} == {"a": 0.5, "b": 0.5}
