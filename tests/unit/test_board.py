"""How a node stands, as its events come in."""

from typing import Any

import pytest

from testbed.analysis.board import NodeBoard


def _board(*events: tuple[float, str] | tuple[float, str, dict[str, Any]]) -> NodeBoard:
    board = NodeBoard(memory_cap=100)
    for t, event, *fields in events:
        board.apply(
            {"t": t, "node": "a", "event": event, "job": "p1.1@a", "prompt": "p1", **(fields[0] if fields else {})}
        )
    return board


def test_a_node_starts_then_idles_then_infers_then_idles() -> None:
    steps: list[Any] = [(0, "ready"), (1, "enqueue"), (1, "start"), (2, "first_token"), (3, "end", {"tokens": 4})]
    states = [_board(*steps[:count]).state for count in range(len(steps) + 1)]
    assert states == ["starting", "idle", "idle", "inferring", "inferring", "idle"]


def test_the_queue_counts_those_that_wait_and_the_one_at_work() -> None:
    other = {"job": "p2.1@a"}
    steps: list[Any] = [
        (1, "enqueue"),
        (1, "start"),
        (2, "enqueue", other),
        (3, "end", {"tokens": 1}),
        (3, "start", other),
        (4, "job_failed", other),
        (5, "enqueue"),
        (5, "dropped"),
        (6, "enqueue"),
        (7, "ready"),
    ]
    assert [_board(*steps[:count]).queue for count in range(len(steps) + 1)] == [0, 1, 1, 2, 1, 1, 0, 1, 0, 1, 0]


def test_the_decoding_rate_is_over_the_time_at_work() -> None:
    first: list[Any] = [(1, "enqueue"), (1, "start"), (3, "end", {"tokens": 4})]
    board = _board(*first, (90, "enqueue"), (90, "start"), (91, "end", {"tokens": 5}))
    assert board.decoding_rate == pytest.approx(3.0)
    assert _board((0, "ready")).decoding_rate == 0


def test_a_layer_is_reached_when_a_job_of_it_begins() -> None:
    steps: list[Any] = [
        (1, "enqueue", {"layer": "1"}),
        (1, "start"),
        (2, "enqueue", {"layer": "2", "job": "p1.2@a"}),
        (3, "end", {"tokens": 1}),
        (3, "start", {"job": "p1.2@a"}),
        (4, "enqueue", {"layer": "the last", "job": "of-another-client"}),
        (4, "start", {"job": "of-another-client"}),
    ]
    assert [_board(*steps[:count]).layer for count in range(len(steps) + 1)] == [0, 0, 1, 1, 1, 2, 2, 2]


def test_a_job_that_is_wrongly_done_twice_is_counted_twice() -> None:
    """That it must not be is for the invariants to say, when the run is over."""
    twice: list[Any] = [(1, "enqueue"), (1, "start"), (1, "enqueue"), (2, "end", {"tokens": 4}), (2, "start")]
    board = _board(*twice)
    assert (board.queue, board.tokens, board.state) == (1, 4, "inferring")


def test_prompts_end_answered_or_failed() -> None:
    board = _board((1, "answer"), (2, "failed"), (3, "answer"))
    assert (board.answered, board.failed) == (2, 1)


def test_latencies_add_up_over_the_prompts_that_were_answered() -> None:
    board = NodeBoard()
    for t, kind, prompt in (
        (1.0, "arrival", "p1"),
        (1.2, "arrival", "p2"),
        (1.5, "answer", "p1"),
        (9.0, "failed", "p2"),
    ):
        board.apply({"t": t, "node": "a", "event": kind, "prompt": prompt})
    assert (board.answered, board.latency) == (1, 0.5)


def test_other_events_change_nothing() -> None:
    assert _board((1, "send"), (2, "receive"), (3, "ask_failed")) == NodeBoard(memory_cap=100)
