"""Metrics of serving, against values worked out by hand."""

from typing import Any

import pytest

from testbed.analysis.events import HOST, Event
from testbed.analysis.measurements import Measurements, Scope
from testbed.core.errors import SpecError
from testbed.schema.slo import ServiceLevel


def _event(t: float, node: str, event: str, **fields: Any) -> Event:
    return {"t": t, "node": node, "event": event, **fields}


def _prompt(prompt: str, owner: str, arrival: float, answer: float) -> list[Event]:
    return [
        _event(arrival - 0.1, HOST, "prompt", prompt=prompt, owner=owner, text="?", truth=None),
        _event(arrival, owner, "arrival", prompt=prompt, text="?", label="sums"),
        _event(answer, owner, "answer", prompt=prompt, text="x"),
    ]


def _call(
    prompt: str, node: str, layer: int, times: tuple[float, float, float, float], tokens: int, stopped: bool
) -> list[Event]:
    job = f"{prompt}.{layer}@{node}"
    enqueue, start, first, end = times
    return [
        _event(enqueue, node, "enqueue", job=job, prompt=prompt, layer=str(layer), role="answer", owner="a"),
        _event(start, node, "start", job=job),
        _event(first, node, "first_token", job=job),
        _event(end, node, "end", job=job, prompt_tokens=10, tokens=tokens, text="x", stopped=stopped),
    ]


def _run(slo: ServiceLevel | None = None) -> Measurements:
    """Prompt p1 at a: a call at b (5 tokens, cut off) and then one at a (2 and the end token). p2 at b: one token."""
    events = [
        *_prompt("p1", "a", 1.0, 6.0),
        *_call("p1", "b", 1, (1.2, 1.5, 2.0, 4.0), tokens=5, stopped=False),
        *_call("p1", "a", 2, (4.1, 4.1, 4.5, 5.5), tokens=2, stopped=True),
        *_prompt("p2", "b", 3.0, 8.0),
        *_call("p2", "b", 1, (3.0, 4.0, 7.0, 7.0), tokens=1, stopped=False),
        _event(10.0, "b", "neighbour_back", peer="a"),
    ]
    return Measurements(sorted(events, key=lambda event: event["t"]), {}, slo=slo)


def test_first_tokens_of_prompts_and_of_calls_are_two_things() -> None:
    metrics = _run().metrics()
    assert metrics["ttft.mean"] == pytest.approx((3.5 + 4.0) / 2)  # p1's answer is what a wrote
    assert metrics["ttft.p50"] == pytest.approx(3.5)
    assert metrics["ttft.p99"] == pytest.approx(4.0)
    assert metrics["calls.ttft.mean"] == pytest.approx((0.8 + 0.4 + 4.0) / 3)
    assert metrics["calls.ttft.p95"] == pytest.approx(4.0)


def test_times_per_token_average_calls_and_inter_token_latency_averages_gaps() -> None:
    metrics = _run().metrics()
    assert metrics["tpot.mean"] == pytest.approx((2.0 / 4 + 1.0 / 2) / 2)
    assert metrics["tpot.p95"] == pytest.approx(0.5)
    assert metrics["itl.mean"] == pytest.approx(3.0 / 6)
    assert (metrics["tokens_read"], metrics["tokens_written"]) == (30, 8)


def test_calls_belong_to_the_node_and_the_time_of_their_end() -> None:
    assert _run().metrics(Scope(nodes={"a"}))["calls.ttft.mean"] == pytest.approx(0.4)
    assert _run().metrics(Scope(end=4.5))["calls.ttft.mean"] == pytest.approx(0.8)
    assert _run().metrics(Scope(nodes={"b"}))["ttft.mean"] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("slo", "kept"),
    [
        ({"ttft": "4s"}, 2),
        ({"ttft": "3.9s"}, 1),
        ({"tpot": "400ms"}, 1),  # p2 wrote one token and has no gap
        ({"latency": "4s"}, 0),
        ({"ttft": "4s", "tpot": "400ms"}, 1),
    ],
)
def test_goodput_counts_the_prompts_that_keep_every_objective(slo: dict[str, str], kept: int) -> None:
    metrics = _run(ServiceLevel.model_validate(slo)).metrics()
    assert metrics["slo_attainment"] == pytest.approx(kept / 2)
    assert metrics["goodput"] == pytest.approx(kept / 10.0)


def test_without_objectives_there_is_no_goodput() -> None:
    metrics = _run().metrics()
    assert (metrics["goodput"], metrics["slo_attainment"]) == (None, None)


def test_a_call_that_a_restart_cut_off_is_not_the_answers() -> None:
    events = [
        *_prompt("p1", "a", 0.0, 9.0),
        *_call("p1", "a", 1, (0.0, 0.0, 1.0, 2.0), tokens=3, stopped=False)[:3],
        _event(3.0, "a", "ready", load_seconds=1.0),
        *_call("p1", "a", 1, (4.0, 4.0, 5.0, 9.0), tokens=3, stopped=False),
    ]
    metrics = Measurements(sorted(events, key=lambda event: event["t"]), {}).metrics()
    assert metrics["ttft.mean"] == pytest.approx(5.0)
    assert metrics["tpot.mean"] == pytest.approx(2.0)


@pytest.mark.parametrize("slo", ["{}", "{ttft: 500}", "{ttft: 0ms}", "{speed: 1s}"])
def test_objectives_that_are_none_are_refused(files: Any, slo: str) -> None:
    with pytest.raises(SpecError, match="slo"):
        files.load(f"slo={slo}")
