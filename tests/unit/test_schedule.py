"""Arrivals: Poisson at every node, fixed by the seed, and each node's its own."""

import subprocess
import sys
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

import pytest

from testbed.analysis.queues.figures import ExpectedLoad
from testbed.core.errors import SpecError
from testbed.schema.workload import Workload
from testbed.workload.schedule import Arrival


def _workload(count: int, rate: str = "2/s") -> Workload:
    return Workload.model_validate({"prompts": "worldfacts", "arrivals": {"rate": rate}, "count": count})


def _times(arrivals: list[Arrival], node: str) -> list[float]:
    return [arrival.at for arrival in arrivals if arrival.node == node]


def test_all_prompts_come_in_order_and_are_numbered() -> None:
    arrivals = _workload(50).schedule(["a", "b", "c"], seed=1)
    assert [arrival.prompt for arrival in arrivals] == [f"p{number}" for number in range(1, 51)]
    assert arrivals == sorted(arrivals, key=lambda arrival: arrival.at)
    assert arrivals[0].at > 0
    assert {arrival.node for arrival in arrivals} == {"a", "b", "c"}
    assert all(arrival.question.text and arrival.question.truth for arrival in arrivals)


def test_the_seed_fixes_everything() -> None:
    assert _workload(30).schedule(["a", "b"], seed=1) == _workload(30).schedule(["a", "b"], seed=1)
    assert _workload(30).schedule(["a", "b"], seed=1) != _workload(30).schedule(["a", "b"], seed=2)


def test_another_process_with_other_hashes_draws_the_same() -> None:
    program = (
        "from testbed.schema.workload import Workload;"
        "w = Workload.model_validate({'prompts': 'worldfacts', 'arrivals': {'rate': '2/s'}, 'count': 9});"
        "print(w.schedule(['a', 'b'], 4))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": salt}, capture_output=True, text=True, check=True
        ).stdout
        for salt in ("1", "2")
    }
    assert printed == {f"{_workload(9).schedule(['a', 'b'], 4)}\n"}


def test_one_node_more_changes_no_others_arrivals() -> None:
    two, three = (_workload(200).schedule(nodes, seed=3) for nodes in (["a", "b"], ["a", "b", "c"]))
    for node in ("a", "b"):
        common = min(len(_times(two, node)), len(_times(three, node)))
        assert common > 30
        assert _times(two, node)[:common] == _times(three, node)[:common]


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    shorter, longer = (_workload(count).schedule(["a", "b"], seed=3) for count in (20, 80))
    assert [(arrival.at, arrival.node) for arrival in longer[:20]] == [
        (arrival.at, arrival.node) for arrival in shorter
    ]


def test_nodes_do_not_share_their_times() -> None:
    arrivals = _workload(100).schedule(["a", "b"], seed=3)
    assert not set(_times(arrivals, "a")) & set(_times(arrivals, "b"))


@pytest.mark.parametrize(("rate", "mean"), [("2/s", 0.5), ("30/min", 2.0)])
def test_the_gaps_at_a_node_are_exponential_with_the_rate_of_the_file(rate: str, mean: float) -> None:
    """Mean and deviation of an exponential distribution are equal; of 4000 gaps they are within 5 % here."""
    times = [0.0, *_times(_workload(4000, rate).schedule(["a"], seed=11), "a")]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert fmean(gaps) == pytest.approx(mean, rel=0.05)
    assert pstdev(gaps) == pytest.approx(mean, rel=0.05)


def test_prompts_arrive_at_the_nodes_of_their_labels() -> None:
    spread = _workload(80).schedule(["a", "b", "c"], seed=1)
    workload = _workload(80).model_copy(update={"at": {"capitals": "b", "units": "c"}})
    placed = workload.schedule(["a", "b", "c"], seed=1)
    by_label = {"capitals": "b", "units": "c"}
    assert [one.node for one in placed] == [by_label.get(one.question.label, one.node) for one in spread]
    assert [(one.at, one.question) for one in placed] == [(one.at, one.question) for one in spread]
    assert any(one.node != other.node for one, other in zip(spread, placed, strict=True))


def test_prompts_can_arrive_at_one_node(files: Any) -> None:
    assert files.load().owners == ["a", "b"]
    one = files.load("workload.at=b")
    assert one.owners == ["b"]
    assert {arrival.node for arrival in one.workload.schedule(one.owners, 1)} == {"b"}
    assert ExpectedLoad.of(files.load()).rate is not None
    assert (ExpectedLoad.of(one).rate, ExpectedLoad.of(one).memoryless) == (None, False)  # theory takes all owners


def test_a_place_that_owns_no_prompts_is_refused(files: Any) -> None:
    for written, place in (("x", "workload.at"), ("{capitals: x}", "workload.at.capitals")):
        with pytest.raises(SpecError, match=f"{place}: prompts arrive at a, b, and 'x' is none of them"):
            files.load(f"workload.at={written}")
