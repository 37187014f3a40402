"""How the figures of benchmarks/pipeline.py come about."""

import pytest
from pipeline_table.decoding import in_steady_state
from pipeline_table.law import LawCell, link_seconds
from pipeline_table.memory import MemoryPoint, fit
from pipeline_table.results import Results
from pipeline_table.standing import Played, wire_bytes
from pipeline_table.table import report

from testbed.analysis.events import Event


def _cell(samples: int, rate: float = 40.0) -> LawCell:
    return LawCell(2, 0.03, samples, stages=[0.01, 0.02], links=[0.03, 0.04], busy=[0.01, 0.02], rate=rate)


def test_the_law_is_the_slowest_stage_or_what_is_in_flight() -> None:
    assert _cell(1).law == pytest.approx(10)
    assert _cell(4).law == pytest.approx(40)
    assert _cell(16).law == pytest.approx(50)
    assert _cell(16).ratio == pytest.approx(0.8)


def test_a_message_takes_the_headers_of_every_packet() -> None:
    assert wire_bytes(1) == 67
    assert wire_bytes(1448) == 1514
    assert wire_bytes(1449) == 1449 + 2 * 66


def test_hidden_rows_take_longer_on_a_link_than_the_token_that_goes_home() -> None:
    assert link_seconds(1, 0.05) == [0.0]
    first, second, home = link_seconds(3, 0.05)
    assert first == second == pytest.approx(0.05 + (4096 + 29 + 3 * 66) * 8 / 20e6)
    assert home == pytest.approx(0.05 + (37 + 66) * 8 / 20e6)


def _batch(t: float, node: str) -> Event:
    return {"t": t, "node": node, "event": "computed", "rows": 2, "seconds": 0.5 if node == "a" else 0.25}


def test_a_rate_is_that_between_the_last_first_token_and_the_first_end() -> None:
    batches = [_batch(t + shift, node) for t in range(30) for node, shift in (("a", 0.1), ("b", 0.6))]
    others: list[Event] = [
        {"t": 3.0, "node": "a", "event": "first_token"},
        {"t": 10.0, "node": "a", "event": "first_token"},
        {"t": 20.0, "node": "a", "event": "end"},
        {"t": 25.0, "node": "a", "event": "end"},
    ]
    played = Played(["", ""], [*others, *batches], carried=[(0.0, 0), (30.0, 3000)])
    decoding = in_steady_state(played, ["a", "b"], at_once=2)
    assert decoding.rate == pytest.approx(2.0)
    assert decoding.bytes_per_token == pytest.approx(50)
    assert decoding.stages == [0.5, 0.25]


def test_too_few_batches_give_no_rate() -> None:
    events: list[Event] = [{"t": float(t), "node": "a", "event": kind} for t, kind in ((1, "first_token"), (2, "end"))]
    with pytest.raises(RuntimeError, match="let them be longer"):
        in_steady_state(Played([""], events, [(0.0, 0)]), ["a"], at_once=1)


def test_a_fit_finds_what_memory_is_made_of() -> None:
    points = [
        MemoryPoint(4, layers, samples, context, 50_000_000 + 7_000_000 * layers + 1024 * samples * context * layers, 0)
        for layers in (1, 3, 5, 7)
        for samples, context in ((1, 256), (16, 256), (4, 1024))
    ]
    found = fit(points)
    assert (found.base, found.layer, found.cached) == pytest.approx((50e6, 7e6, 1024), rel=1e-6)
    assert found.r_squared == pytest.approx(1)


def test_a_report_says_what_was_held_and_what_was_missed() -> None:
    text = report(Results(law=[_cell(1, 9.5), _cell(2, 19), _cell(4, 38), _cell(8, 30), _cell(16, 50)]))
    assert (
        "| throughput | within 10 % of the law | 4 of 5 cells; 0.60 to 1.00 times, median 0.95 | **missed** |" in text
    )
    assert "| 2 | 30 ms | 9.5 (0.95) |" in text
