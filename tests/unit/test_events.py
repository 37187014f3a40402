"""Events: what is noted of links is taken in whole lines only, and all events lie on one clock."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.events import HOST, write_events
from testbed.core.clock import REAL_TIME
from testbed.node.event_log import EventWriter
from testbed.record.event_log import RunEvents
from testbed.world.nodes.feed import EventFeed
from testbed.world.nodes.handle import ClockOffset


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.jsonl"


def _append(path: Path, content: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _line(t: float, event: str = "start") -> str:
    return json.dumps({"t": t, "node": "a", "event": event}) + "\n"


def _caught_up(log: RunEvents) -> list[Any]:
    """The events that one look at the file adds."""
    before = len(log.events)
    log.catch_up()
    return log.events[before:]


def _sent(path: Path) -> list[Any]:
    """The events of a node as the host takes them in."""
    return list(EventFeed(ClockOffset()).take(path.read_bytes()))


def test_links_that_nobody_has_changed_have_no_events(file: Path) -> None:
    log = RunEvents(file, REAL_TIME)
    assert _caught_up(log) == []
    _append(file, _line(1))
    assert [event["t"] for event in _caught_up(log)] == [1]


def test_each_event_is_taken_in_once(file: Path) -> None:
    log = RunEvents(file, REAL_TIME)
    _append(file, _line(1) + _line(2))
    assert [event["t"] for event in _caught_up(log)] == [1, 2]
    assert _caught_up(log) == []
    _append(file, _line(3))
    assert [event["t"] for event in _caught_up(log)] == [3]
    assert [event["t"] for event in log.events] == [1, 2, 3]


def test_a_line_is_taken_when_it_is_whole_wherever_it_was_cut(file: Path) -> None:
    line = (json.dumps({"t": 2, "node": "a", "text": "Zürich\u2028“”"}, ensure_ascii=False) + "\n").encode()
    for cut in range(len(line)):
        file.write_bytes(b"")
        log = RunEvents(file, REAL_TIME)
        _append(file, _line(1).encode() + line[:cut])
        assert [event["t"] for event in _caught_up(log)] == [1]
        _append(file, line[cut:])
        assert [event["text"] for event in _caught_up(log)] == ["Zürich\u2028“”"]


def test_what_a_node_traces_is_what_the_host_reads(make_trace: Callable[[str], Any]) -> None:
    written = make_trace("a")
    written.trace.emit("end", job="p1.1@a", text='two\nlines, a "quote", Zürich')
    (event,) = _sent(written.path)
    assert (event["node"], event["event"], event["job"]) == ("a", "end", "p1.1@a")
    assert event["text"] == 'two\nlines, a "quote", Zürich'


def test_events_of_all_writers_are_put_in_the_order_of_one_clock(make_trace: Callable[[str], Any], file: Path) -> None:
    a, b = make_trace("a"), make_trace("b")
    log = RunEvents(file.with_name("links"), REAL_TIME)
    b.trace.emit("ready")
    log.emit("stage", name="play")
    a.trace.emit("arrival")
    b.trace.emit("enqueue")
    for written in (a, b):
        log.take(_sent(written.path))
    ordered = log.ordered(zero=0)
    assert [(event["node"], event["event"]) for event in ordered] == [
        ("b", "ready"),
        (HOST, "stage"),
        ("a", "arrival"),
        ("b", "enqueue"),
    ]


def test_times_are_counted_from_the_beginning_of_play(file: Path) -> None:
    log = RunEvents(file, REAL_TIME)
    _append(file, _line(103.25) + _line(99.5))
    log.catch_up()
    assert [event["t"] for event in log.ordered(zero=100)] == [-0.5, 3.25]
    assert [event["t"] for event in log.events] == [103.25, 99.5], "the log itself stays as it is"


def test_events_of_one_instant_keep_the_order_in_which_they_were_written(file: Path) -> None:
    log = RunEvents(file, REAL_TIME)
    _append(file, _line(1, "end") + _line(1, "answer"))
    log.catch_up()
    assert [event["event"] for event in log.ordered(zero=0)] == ["end", "answer"]


def test_what_is_written_is_one_object_a_line(tmp_path: Path) -> None:
    events = [{"t": 0.0, "node": "", "event": "stage", "name": "Zürich\n"}, {"t": 1.0, "node": "a", "event": "end"}]
    path = tmp_path / "events.jsonl"
    write_events(events, path)
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]] == events


def test_half_a_character_is_recorded_like_any_text(file: Path) -> None:
    """A model may end in the middle of what takes two tokens."""
    trace = EventWriter(file, "a", REAL_TIME)
    trace.emit("end", text="half \ud83d")
    trace.emit("end", text="whole 😀")
    assert [json.loads(line)["text"] for line in file.read_bytes().splitlines()] == ["half \ud83d", "whole 😀"]
