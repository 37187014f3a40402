"""What the latency of prompts is split into, against examples worked out by hand."""

from dataclasses import astuple
from typing import Any

import pytest
from playing import TIMEOUT, play, scenario

from testbed.analysis.events import HOST, Event
from testbed.analysis.latency.breakdown import Breakdown, breakdowns, mean_breakdown
from testbed.analysis.measurements import Measurements


def _event(t: float, node: str, event: str, **fields: Any) -> Event:
    return {"t": t, "node": node, "event": event, **fields}


def _prompt(arrival: float, answer: float) -> list[Event]:
    return [
        _event(arrival, HOST, "prompt", prompt="p1", owner="a", text="?", truth="Rome"),
        _event(arrival, "a", "arrival", prompt="p1", text="?"),
        _event(answer, "a", "answer", prompt="p1", text="Rome"),
    ]


def _job(node: str, layer: int, enqueue: float, start: float, end: float) -> list[Event]:
    job = f"p1.{layer}@{node}"
    return [
        _event(enqueue, node, "enqueue", job=job, prompt="p1", layer=str(layer), owner="a"),
        _event(start, node, "start", job=job),
        _event(end, node, "end", job=job, tokens=4, text="x"),
    ]


def _asked(node: str, sent: float, ended: float, event: str = "receive") -> list[Event]:
    part = "response" if event == "receive" else "request"
    return [
        _event(sent, "a", "send", message=f"p1.1@{node}/request", peer=node, bytes=9),
        _event(ended, "a", event, message=f"p1.1@{node}/{part}", peer=node),
    ]


def _split(*parts: list[Event]) -> Breakdown:
    events = sorted((event for part in parts for event in part), key=lambda event: event["t"])
    return breakdowns(Measurements(events, {}))["p1"]


def _approximately(**parts: float) -> Any:
    return pytest.approx(astuple(Breakdown(**parts)))


def test_a_prompt_that_its_owner_answers_alone() -> None:
    alone = _split(_prompt(1, 6.5), _job("a", 1, 1, 3, 6))
    assert astuple(alone) == _approximately(queueing=2, inference=3, other=0.5)


def test_the_last_of_a_layer_decides() -> None:
    """b responds at 5 and c at 8, of which 2 s were in c's queue and 1 s in its model; then the owner aggregates."""
    layered = _split(
        _prompt(0, 10),
        _job("a", 1, 0, 0, 4),
        [*_asked("b", 0, 5), *_job("b", 1, 1, 1, 4)],
        [*_asked("c", 0, 8), *_job("c", 1, 1, 3, 4)],
        _job("a", 2, 8, 8.5, 10),
    )
    assert astuple(layered) == _approximately(queueing=2.5, inference=2.5, network=5)


def test_waiting_for_one_that_does_not_answer_is_lost() -> None:
    failed = _split(_prompt(0, 12), _job("a", 1, 0, 0, 4), _asked("b", 0, 10, "ask_failed"), _job("a", 2, 10, 10, 12))
    assert astuple(failed) == _approximately(inference=2, lost=10)


def test_of_one_that_is_too_slow_only_what_was_waited_for_counts() -> None:
    late = _split(
        _prompt(0, 12),
        _job("a", 1, 0, 0, 4),
        [*_asked("b", 0, 10, "ask_failed"), *_job("b", 1, 1, 7, 30)],
        _job("a", 2, 10, 10, 12),
    )
    assert astuple(late) == _approximately(queueing=6, inference=3 + 2, lost=1)


def test_time_in_which_the_owner_was_down_is_neither() -> None:
    down = _split(
        _prompt(0, 20),
        [_event(0, "a", "enqueue", job="p1.1@a", prompt="p1", layer="1", owner="a")],
        [_event(1, "a", "start", job="p1.1@a"), _event(5, HOST, "exited", who="a", reason="killed")],
        [_event(14, "a", "ready", load_seconds=1.0), _event(14, "a", "resumed", prompt="p1")],
        _job("a", 1, 15, 15, 20),
    )
    assert astuple(down) == _approximately(queueing=1, inference=4 + 5, other=10)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_the_parts_add_up_to_the_latency(layers: int) -> None:
    measured = Measurements(play(scenario(layers=layers, prompts=120, rate=1)), {})
    found = breakdowns(measured)
    assert found.keys() == measured.answers.keys()
    for prompt, split in found.items():
        assert split.total == pytest.approx(measured.latencies[prompt])
        assert min(astuple(split)) >= -1e-9
    away = [split.network + split.lost for split in found.values()]
    assert max(away) > 0.9 * TIMEOUT if layers else set(away) == {0.0}


def test_the_mean_of_splits() -> None:
    assert mean_breakdown([]) == Breakdown()
    assert mean_breakdown([Breakdown(1, 2, 3, 4, 5), Breakdown(3, 2, 1, 0, 3)]) == Breakdown(2, 2, 2, 2, 4)


def _round(begin: float, steps: list[tuple[str, float, float]], link: float) -> list[Event]:
    """One token's way round a ring from ``begin``: at each node it waits and is computed, then it is on a link."""
    now, events = begin, list[Event]()
    for node, waited, seconds in steps:
        now += waited + seconds
        events.append(_event(now, node, "computed", rows=1, seconds=seconds, waited=waited, samples=[7]))
        now += link
    return events


def test_a_job_of_a_ring_is_split_by_its_stages_and_links() -> None:
    """Three tokens over three stages and links of 0.1 s, counted by hand: nine crossings are 0.9 s of 2.6 s."""
    steps = [("a", 0.0, 0.1), ("b", 0.05, 0.2), ("c", 0.05, 0.1)]  # half a second, and 0.3 s on links
    start = [_event(1, "a", "enqueue", job="p1.1@a", prompt="p1", layer="1", owner="a")]
    start += [_event(2, "a", "start", job="p1.1@a"), _event(2, "a", "sampled", job="p1.1@a", sample=7)]
    rounds = [event for number in range(3) for event in _round(2.2 + 0.8 * number, steps, 0.1)]
    end = [_event(4.6, "a", "end", job="p1.1@a", tokens=3, text="x")]
    other = [_event(t, "b", "computed", rows=1, seconds=0.1, waited=0.0, samples=[8]) for t in (2.5, 3.1)]
    split = _split(_prompt(1, 4.7), start, rounds, other, end)
    assert astuple(split) == _approximately(queueing=1 + 0.3, inference=1.2, network=0.9, other=0.2 + 0.1)
    assert split.total == pytest.approx(3.7)


def test_what_a_ring_waited_for_a_lost_node_is_its_own_part() -> None:
    """The first token's way ends at b; the ring is broken from 4 to 6 and the sample goes round once more."""
    steps = [("a", 0.0, 0.1), ("b", 0.0, 0.2), ("c", 0.0, 0.1)]
    start = [_event(0, "a", "enqueue", job="p1.1@a", prompt="p1", layer="1", owner="a")]
    start += [_event(0, "a", "start", job="p1.1@a"), _event(0, "a", "sampled", job="p1.1@a", sample=7)]
    broken = [_event(4, "a", "ring_broken", peer="c"), _event(6, "a", "ring_closed", epoch=2, samples=1)]
    end = [_event(6.7, "a", "end", job="p1.1@a", tokens=1, text="x")]
    split = _split(_prompt(0, 6.7), start, _round(0, steps[:2], 0.1), broken, _round(6, steps, 0.1), end)
    assert astuple(split) == _approximately(inference=0.3 + 0.4, network=0.1 + 0.3, lost=6 - 0.4)
