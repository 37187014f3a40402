"""What a run looks like in a terminal while it goes on."""

import io
import re

import pytest
from rich.console import Console

from testbed.analysis.board import NodeBoard
from testbed.show.live import LiveView, NodesView, PlainView

MIB = 2**20


def _screen(view: LiveView | NodesView, width: int = 80, height: int = 24) -> list[str]:
    """The lines on a screen of that size."""
    console = Console(file=io.StringIO(), width=width, height=height, record=True, force_terminal=True)
    console.print(view.render() if isinstance(view, LiveView) else view)
    return [line.rstrip() for line in console.export_text().splitlines()]


def _boards(count: int) -> dict[str, NodeBoard]:
    """Nodes of which each has as many jobs as its number, up to nine, and is at the first."""
    boards = {}
    for number in range(1, count + 1):
        board = NodeBoard(memory=number * 4 * MIB, memory_cap=160 * MIB, tokens=400 + number, busy=10.0)
        board.apply({"t": -1.0, "node": f"n{number}", "event": "ready"})
        for job in range(number % 10):
            board.apply({"t": 0.0, "node": f"n{number}", "event": "enqueue", "job": f"p{job}.1@n{number}"})
        if number % 10:
            board.apply({"t": 0.0, "node": f"n{number}", "event": "start", "job": f"p0.1@n{number}"})
        boards[f"n{number}"] = board
    return boards


def _playing(boards: dict[str, NodeBoard], prompts: int = 100) -> LiveView:
    view = LiveView("partition")
    for stage in ("check", "build", "warm up", "play"):
        view.stage(stage)
    view.play(boards, prompts, {"partition-1": "a, b | c, d"}, 1.0)
    return view


@pytest.mark.parametrize(("count", "width"), [(4, 80), (18, 80), (32, 80), (32, 120), (85, 200)])
def test_every_node_fits_on_the_screen(count: int, width: int) -> None:
    boards = _boards(count)
    lines = _screen(_playing(boards), width)
    assert len(lines) < 24
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    assert [words.count(name) for name in boards] == [1] * count
    assert "partition-1 (a, b | c, d)" in lines
    assert "prompts" in lines[-1]


def test_nodes_that_do_not_fit_are_counted() -> None:
    lines = _screen(_playing(_boards(64)))
    assert len(lines) < 24
    shown = {word for line in lines for word in line.split() if word.startswith("n") and word[1:].isdecimal()}
    assert f"and {64 - len(shown)} more nodes" in lines


def _row(lines: list[str], name: str) -> list[str]:
    return next(line.split() for line in lines if line.split()[:1] == [name])


def test_a_line_says_what_there_is_to_say_of_a_node() -> None:
    boards = _boards(4)
    boards["n1"].answered, boards["n1"].failed = 7, 2
    lines = _screen(_playing(boards))
    assert _row(lines, "n1") == ["n1", "▁▁▁▁▁▁▁▁▁▁▁▂", "1", "░░░░░░░░", "4", "of", "160", "40", "7", "−2", "p0.1"]
    boards["n3"].memory = 120 * MIB
    assert _row(_screen(_playing(boards)), "n3")[3:7] == ["██████░░", "120", "of", "160"]


def test_a_node_that_is_not_at_work_says_how_it_stands() -> None:
    boards = _boards(4)
    boards["n2"].apply({"t": 1.0, "node": "n2", "event": "end", "job": "p0.1@n2", "tokens": 4})
    boards["n3"].state = "out of memory"
    lines = _screen(_playing(boards))
    assert _row(lines, "n2")[-1] == "idle"
    assert _row(lines, "n3")[-3:] == ["out", "of", "memory"]


def test_queues_are_drawn_as_the_longest_of_each_second_and_against_each_other() -> None:
    boards = {"a": NodeBoard(), "b": NodeBoard()}
    view = NodesView(boards)
    for now, a, b in ((10.0, 1, 0), (10.3, 5, 0), (10.9, 2, 0), (11.1, 0, 14), (12.5, 3, 1)):
        boards["a"].queue, boards["b"].queue = a, b
        view.look(now)
    assert _row(_screen(view), "a")[1:3] == ["▁▁▁▁▁▁▁▁▁▄▁▃", "3"]
    assert _row(_screen(view), "b")[1:3] == ["▁▁▁▁▁▁▁▁▁▁█▂", "1"]


def test_prompts_that_ended_fill_the_bar() -> None:
    """As much of it as have ended, answered or not, is drawn in the colour of what is done."""
    boards = _boards(2)
    view = _playing(boards, prompts=4)
    for answered, failed, full in ((0, 0, 0), (1, 0, 10), (1, 1, 20), (2, 1, 30)):
        boards["n1"].answered, boards["n2"].failed = answered, failed
        console = Console(
            file=io.StringIO(), width=80, record=True, force_terminal=True, color_system="standard", no_color=False
        )
        console.print(view.render())
        bar = console.export_text(styles=True).splitlines()[-1]
        assert [len(done) for done in re.findall("\x1b\\[91m(━+)", bar)] == ([full] if full else [])


def test_what_has_ended_is_counted_with_its_mean_latency() -> None:
    boards = _boards(2)
    for name, prompt, arrived, end in (("n1", "p1", 1.0, 1.5), ("n2", "p2", 2.0, 2.1), ("n2", "p3", 3.0, None)):
        boards[name].apply({"t": arrived, "node": name, "event": "arrival", "prompt": prompt})
        kind = "failed" if end is None else "answer"
        boards[name].apply({"t": end or 4.0, "node": name, "event": kind, "prompt": prompt})
    assert "3 of 60 prompts, 1 failed, latency 300 ms" in _screen(_playing(boards, prompts=60))


def test_a_stage_says_what_takes_its_time() -> None:
    view = LiveView("partition")
    view.stage("warm up")
    view.step("loading models")
    first, last = _screen(view)
    assert first.startswith("partition  warm up 0.")
    assert "loading models" in last


def test_where_there_is_no_terminal_it_prints_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=80, record=True)
    view = PlainView(console, "partition")
    view.stage("play")
    view.play(_boards(2), 40, {}, 4.0)
    assert console.export_text().splitlines() == [
        "partition: play",
        "  40 prompts for 2 nodes, time runs 4 times slower",
    ]
