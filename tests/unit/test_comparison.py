"""Comparisons of runs whose truth is known: equal ones raise no alarm, and a slower node is found."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev

import pytest
from simulated import simulated_run, simulated_runs

from testbed.analysis.comparison.changes import ALARM, Change, Comparison, compare, compare_scenarios
from testbed.analysis.distributions import t_quantile
from testbed.analysis.recorded import RecordedRun, telling

SLOW = {"a": 1 / 0.8}  # a node with 20 % less CPU takes a quarter more time

SIDES = {
    "one run a side": ([7], [7], 40),
    "five runs a side": ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], 16),
    "five runs a side of other seeds": ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 16),
}
"""Seeds of the base, seeds of the new runs, and prompts a run."""


def _alarms(comparison: Comparison) -> list[str]:
    return [change.metric for change in comparison.changes if change.verdict in ("better", "worse", "different")]


def _of(comparison: Comparison, metric: str) -> Change:
    return next(change for change in comparison.changes if change.metric == metric)


@pytest.mark.parametrize(("base", "new", "prompts"), SIDES.values(), ids=SIDES)
def test_twenty_comparisons_of_equal_runs_give_at_most_one_alarm(
    base: Sequence[int], new: Sequence[int], prompts: int
) -> None:
    history = random.Random("equal")
    comparisons = [
        compare(simulated_runs(base, history, prompts=prompts), simulated_runs(new, history, prompts=prompts))
        for _ in range(20)
    ]
    assert sum(bool(_alarms(comparison)) for comparison in comparisons) <= 1


@pytest.mark.parametrize(("seeds", "prompts"), [([1], 120), ([1, 2, 3, 4, 5], 40)], ids=["one run", "five runs"])
def test_a_node_slowed_by_a_fifth_is_found_nine_times_in_ten(seeds: list[int], prompts: int) -> None:
    history = random.Random("slow")
    found: list[str] = []
    for _ in range(10):
        base, new = simulated_runs(seeds, history, prompts=prompts), simulated_runs(seeds, history, SLOW, prompts)
        found += [change.metric for change in compare(base, new).regressions]
    assert found.count("inference.a") >= 9
    assert sum(found.count(f"inference.{node}") for node in "bcd") <= 1


def test_what_is_slower_one_way_round_is_faster_the_other() -> None:
    history = random.Random("ways")
    base, new = simulated_runs([1], history, prompts=200), simulated_runs([1], history, {"a": 2.0}, prompts=200)
    assert _of(compare(base, new), "inference.a").verdict == "worse"
    back = compare(new, base)
    assert _of(back, "inference.a").verdict == "better"
    assert back.regressions == []


def test_the_interval_of_a_mean_is_that_of_the_textbook() -> None:
    (base,), (new,) = (simulated_runs([1], random.Random(history), prompts=400) for history in (1, 2))
    comparison = compare([base], [new])
    low, high = _of(comparison, "latency.mean").interval or (0.0, 0.0)
    differences = [b - a for a, b in zip(base.columns["latency"], new.columns["latency"], strict=True)]
    tested = sum(change.interval is not None for change in comparison.changes)
    half = t_quantile(1 - ALARM / tested / 2, 399) * stdev(differences) / 400**0.5
    assert (low + high) / 2 == pytest.approx(fmean(differences), abs=0.25 * half)
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)


def test_runs_of_the_same_prompts_are_paired_and_the_interval_is_the_smaller_for_it() -> None:
    history = random.Random("pairs")
    base, new = simulated_runs([1], history), simulated_runs([1], history)
    paired = compare(base, new)
    apart = compare(base, [replace(new[0], seed=2)])
    assert (paired.paired, apart.paired) == (True, False)
    widths = [high - low for one in (paired, apart) for low, high in [_of(one, "latency.mean").interval or (0, 0)]]
    assert widths[0] < 0.7 * widths[1]


def test_a_run_is_held_against_that_of_its_seed_among_several() -> None:
    history = random.Random("one of several")
    comparison = compare(simulated_runs([1, 2, 3], history), simulated_runs([2], history))
    assert comparison.paired
    assert [run.seed for run in comparison.base] == [2]


def test_a_run_is_held_against_that_of_its_host_among_several_of_its_seed() -> None:
    history = random.Random("hosts")
    base = [replace(run, host=host) for run, host in zip(simulated_runs([1, 1, 2], history), "xyx", strict=True)]
    new = [replace(run, host=host) for run, host in zip(simulated_runs([1, 2], history), "yx", strict=True)]
    comparison = compare(base, new)
    assert [(run.seed, run.host) for run in comparison.base] == [(1, "y"), (2, "x")]
    assert (comparison.pairing, comparison.apart) == ("paired by seed and host", "")


def test_sides_that_other_hosts_played_are_paired_by_seed_and_the_hosts_are_named() -> None:
    history = random.Random("apart")
    base = [replace(run, host="x") for run in simulated_runs([1, 2], history)]
    new = [replace(run, host=host) for run, host in zip(simulated_runs([1, 2], history), "xy", strict=True)]
    comparison = compare(base, new)
    assert comparison.pairing == "paired by seed"
    assert comparison.apart == comparison.as_dict()["apart"] == "seed 2 was played on x and on y"
    unpaired = compare(base[:1], [replace(new[1], seed=7)])
    assert unpaired.apart == "the hosts differ, base: x; new: y"


def test_runs_that_differ_more_than_their_prompts_explain_widen_the_interval() -> None:
    history = random.Random("drift")
    base = simulated_runs([1, 2, 3, 4], history)
    slow = dict.fromkeys("abcd", 2.0)
    steady = simulated_runs([1, 2, 3, 4], history, slow)
    erratic = [simulated_run(seed, history, slow=slow if seed % 2 else None) for seed in (1, 2, 3, 4)]
    widths = [
        high - low
        for new in (steady, erratic)
        for low, high in [_of(compare(base, new), "latency.mean").interval or (0, 0)]
    ]
    assert widths[1] > 1.5 * widths[0]


@pytest.mark.parametrize(("runs", "verdict"), [(4, "not tested"), (5, "worse")])
def test_what_only_whole_runs_show_takes_five_of_them(runs: int, verdict: str) -> None:
    history = random.Random("totals")
    base = simulated_runs(range(runs), history)
    new = [
        replace(run, totals={**run.totals, "memory.peak": 2 * (run.totals["memory.peak"] or 0)})
        for run in simulated_runs(range(runs), history)
    ]
    assert _of(compare(base, new), "memory.peak").verdict == verdict


@pytest.mark.parametrize(("runs", "verdict"), [(4, "not tested"), (5, "worse")])
def test_times_of_distorted_runs_take_five_of_them(runs: int, verdict: str) -> None:
    history = random.Random("distorted")
    base = simulated_runs(range(runs), history)
    new = simulated_runs(range(runs), history, dict.fromkeys("abcd", 3.0))
    comparison = compare(base, [*new[1:], replace(new[0], fidelity="distorted")])
    assert _of(comparison, "latency.mean").verdict == verdict
    assert _of(comparison, "completed").verdict == "no difference found"


def test_a_change_below_the_margin_does_not_count() -> None:
    base = simulated_run(1, random.Random("margin"), prompts=100)
    faster = {**base.columns, "latency": tuple(0.9 * seconds for seconds in base.columns["latency"])}
    new = [replace(base, columns=faster)]
    assert _of(compare([base], new, margin=0.05), "latency.mean").verdict == "better"
    assert _of(compare([base], new, margin=0.20), "latency.mean").verdict == "no difference found"


def test_any_share_of_prompts_that_is_surely_lost_counts() -> None:
    base = simulated_run(1, random.Random("shares"), prompts=500)
    lost = {**base.columns, "answered": tuple(float(number % 25 != 0) for number in range(500))}
    change = _of(compare([base], [replace(base, columns=lost)]), "completed")
    assert (change.verdict, change.new) == ("worse", 0.96)
    assert str(change).startswith("completed: worse, was 100 % in the baseline, is 96 % (")
    assert str(change).endswith(" points)")


def test_runs_without_a_single_answer_are_compared_by_what_there_is() -> None:
    base = simulated_run(1, random.Random("none"))
    nothing = {name: (float("nan"),) * 40 for name in base.columns} | {"answered": (0.0,) * 40}
    comparison = compare([base], [replace(base, columns=nothing)])
    assert [change.metric for change in comparison.regressions] == ["completed"]
    assert _of(comparison, "latency.p95").verdict == "not tested"


def test_a_single_answer_tells_nothing_of_latencies() -> None:
    run = simulated_run(1, random.Random("single"))
    alone = {name: (values[0], *(float("nan"),) * 39) for name, values in run.columns.items()}
    slower = {**alone, "latency": (9.0, *(float("nan"),) * 39)}
    comparison = compare([replace(run, columns=alone)], [replace(run, columns=slower)])
    assert _of(comparison, "latency.mean").verdict == "not tested"


def test_the_same_comparison_gives_the_same_numbers_as_json() -> None:
    history = random.Random("json")
    base, new = simulated_runs([1, 2], history), simulated_runs([1, 2], history)
    first, second = (json.dumps(compare(base, new).as_dict(), allow_nan=False) for _ in range(2))
    assert first == second


def test_runs_that_are_invalid_or_interrupted_tell_nothing() -> None:
    run = simulated_run(1, random.Random("telling"))
    runs = [replace(run, verdict=verdict) for verdict in ("passed", "invalid", "failed", "interrupted")]
    assert [one.verdict for one in telling(runs)] == ["passed", "failed"]


def test_scenarios_are_compared_each_with_itself() -> None:
    def named(name: str) -> RecordedRun:
        return replace(simulated_run(1, random.Random(name)), scenario=name)

    comparisons = compare_scenarios([named("x"), named("y"), named("z")], [named("z"), named("x")])
    assert [comparison.scenario for comparison in comparisons] == ["x", "z"]


# From the table of Abramowitz and Stegun, Handbook of Mathematical Functions, table 26.10.
@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.995, 3, 5.841),
        (0.9995, 5, 6.869),
        (0.95, 10, 1.812),
        (0.9, 120, 1.289),
    ],
)
def test_quantiles_of_students_distribution(probability: float, freedom: int, value: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(value, abs=0.0006)
