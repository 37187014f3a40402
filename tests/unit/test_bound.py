"""Bounds on metrics, in the metric's own unit."""

import pytest

from testbed.schema.bound import Bound


@pytest.mark.parametrize(
    ("metric", "written", "comparison", "limit"),
    [
        ("completed", ">= 0.95", ">=", 0.95),
        ("latency.p95", "< 15s", "<", 15),
        ("latency.mean", "<=1500 ms", "<=", 1.5),
        ("queue.mean", "  <3  ", "<", 3),
        ("inferences", "== 200", "==", 200),
        ("memory.peak", "< 160MiB", "<", 160 * 2**20),
        ("bytes_on_links", "> 0B", ">", 0),
        ("bytes_on_links", "== 0B", "==", 0),
    ],
)
def test_is_read(metric: str, written: str, comparison: str, limit: float) -> None:
    assert Bound.parse(metric, written) == Bound(comparison, limit, written)


@pytest.mark.parametrize(
    ("comparison", "below", "at", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        ("==", False, True, False),
        (">=", False, True, True),
        (">", False, False, True),
    ],
)
def test_holds_on_the_right_side_of_its_bound(comparison: str, below: bool, at: bool, above: bool) -> None:
    bound = Bound.parse("queue.mean", f"{comparison} 3")
    assert [bound.holds(value) for value in (2.999, 3, 3.001)] == [below, at, above]


@pytest.mark.parametrize("comparison", ["<", "<=", "==", ">=", ">"])
def test_nothing_holds_of_a_metric_that_could_not_be_computed(comparison: str) -> None:
    assert not Bound.parse("accuracy", f"{comparison} 0").holds(None)


@pytest.mark.parametrize("written", ["", "3", "about 3", "=> 3", "= 3", "!= 3", "<", "< ", "3 <", "<\n"])
def test_a_malformed_bound_is_refused_with_what_would_be_right(written: str) -> None:
    with pytest.raises(ValueError, match='must be a comparison and a bound, like "< 3"'):
        Bound.parse("queue.mean", written)


@pytest.mark.parametrize(
    ("metric", "written", "reason"),
    [
        ("latency.p95", "< 15", "15 has no unit"),
        ("latency.p95", "< 15MiB", "unknown unit 'MiB'"),
        ("latency.p95", "< -1s", "at least zero"),
        ("memory.peak", "< 1GHz", "unknown unit 'GHz'"),
        ("completed", ">= 95", "95 has no unit; write it like 1%"),
        ("completed", ">= 950%", "at most 100%"),
        ("queue.mean", "< 3s", "queue.mean has no unit"),
        ("accuracy", "> nan", "'nan' is not a share"),
        ("queue.mean", "< < 3", "'< 3' is not a number"),
    ],
)
def test_a_bound_in_the_wrong_unit_is_refused(metric: str, written: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Bound.parse(metric, written)
