"""What the benchmark of the links makes of its measurements."""

from dataclasses import replace
from pathlib import Path

from link_table.grid import DELAYS, QUICK, TABLE, Cell
from link_table.results import CaseResult, CellResult, Store
from link_table.table import report
from link_table.verdict import judge, misses_by_chance

LOSSLESS = Cell(10e6, 0.020, 0.0)
LOSSY = Cell(10e6, 0.020, 0.01)


def exact(contender: str, cell: Cell) -> CellResult:
    if cell.loss:
        return CellResult(contender, cell, [cell.round_trip] * 5, sent=10_000, received=round(10_000 * (1 - cell.loss)))
    return CellResult(contender, cell, [cell.round_trip] * 5, [cell.tcp_rate] * 8)


def missed(store: Store, contender: str) -> set[str]:
    return {verdict.criterion for verdict in judge(store) if verdict.contender == contender and not verdict.held}


def test_the_table_is_the_product_and_quick_a_part_of_it() -> None:
    assert len(set(TABLE)) == 5 * 5 * 4
    assert set(QUICK) < set(TABLE)


def test_a_round_trip_is_both_delays_and_both_times_the_pings_frame() -> None:
    assert LOSSLESS.round_trip == 2 * (0.020 + 98 * 8 / 10e6)


def test_what_was_measured_is_read_again(tmp_path: Path) -> None:
    results = [exact("kernel", LOSSLESS), exact("kernel", LOSSY)]
    case = CaseResult("kernel", "testground", "RTT of 200 ms", "ms", 201.0, 200, 205)
    Store(tmp_path / "links.jsonl").add(*results, case)
    again = Store(tmp_path / "links.jsonl")
    assert list(again.cells.values()) == results
    assert again.cases == [case]


def test_links_that_are_exact_hold_everything(tmp_path: Path) -> None:
    store = Store(tmp_path / "links.jsonl")
    store.add(*(exact("userspace", cell) for cell in TABLE))
    assert missed(store, "userspace") == set()


def test_every_error_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path / "links.jsonl")
    late = [trip * 1.03 for trip in exact("userspace", LOSSLESS).round_trips]
    store.add(
        replace(exact("userspace", LOSSLESS), round_trips=late, rates=[9e6] * 8),
        *(replace(exact("userspace", Cell(10e6, delay, 0.01)), received=9_800) for delay in DELAYS),
        CellResult("userspace", Cell(500e6, 0.0, 0.0), trouble="no link"),
        CaseResult("userspace", "testground", "RTT of 200 ms", "ms", 206.0, 200, 205),
    )
    wrong = " ".join(missed(store, "userspace"))
    for part in ("RTT within 0.2 ms or", "at any delay", "TCP rate", "loss outside", "every cell", "RTT of 200 ms"):
        assert part in wrong


def test_a_cell_worse_than_tclinks_is_named_unless_it_is_noise(tmp_path: Path) -> None:
    store = Store(tmp_path / "links.jsonl")
    noisy = [LOSSLESS.round_trip + extra for extra in (0.0, 1e-3, 2e-3)]
    store.add(
        exact("tclink", LOSSLESS),
        replace(exact("kernel", LOSSLESS), round_trips=noisy, rates=[LOSSLESS.tcp_rate * 0.99] * 8),
    )
    wrong = missed(store, "kernel")
    assert "TCP: no cell worse than TCLink by more than noise" in wrong
    assert "RTT: no cell worse than TCLink by more than noise" not in wrong


def test_chance_misses_one_interval_in_twenty_and_now_and_then_more() -> None:
    assert misses_by_chance(0) == 0
    assert misses_by_chance(75) == 8  # no more than 7: probability 0.966; no more than 8: 0.988
    assert misses_by_chance(1) == 1


def test_the_report_marks_what_is_too_far_off(tmp_path: Path) -> None:
    store = Store(tmp_path / "links.jsonl")
    store.add(replace(exact("kernel", LOSSLESS), rates=[5e6] * 8))
    (row,) = [line for line in report(store).splitlines() if line.startswith("| 10 | 20 |")]
    assert row == "| 10 | 20 | 0 | 40.16 | 40.16 | 9.56 | 5.00 ✗ |  |"
