"""The trace of a run against the rules of the Trace Event Format, and against the run."""

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from playing import play, scenario

from testbed.analysis.events import HOST, Event
from testbed.analysis.faults import FaultRecord, fault_records
from testbed.analysis.measurements import Measurements
from testbed.show.perfetto import trace_events, trace_json

Traced = list[dict[str, Any]]

REQUIRED = {
    "M": {"name", "args"},
    "X": {"name", "cat", "ts", "dur", "args"},
    "b": {"name", "cat", "id2", "ts", "args"},
    "e": {"name", "cat", "id2", "ts"},
    "C": {"name", "ts", "args"},
    "s": {"name", "cat", "id", "ts"},
    "t": {"name", "cat", "id", "ts"},
    "f": {"name", "cat", "id", "ts"},
    "i": {"name", "ts", "s", "args"},
}
"""The phases that are used, and the keys that each must have besides those of all."""


@pytest.fixture(scope="module")
def played() -> tuple[Measurements, list[FaultRecord]]:
    """A run with a partition and a crash."""
    plan = scenario(layers=2, prompts=60, rate=1)
    events = play(plan)
    return Measurements(events, {}), list(fault_records(plan.timeline, events))


@pytest.fixture(scope="module")
def traced(played: tuple[Measurements, list[FaultRecord]]) -> Traced:
    return trace_events(*played)


def _of(traced: Traced, phase: str, name: str | None = None) -> Traced:
    return [event for event in traced if event["ph"] == phase and name in (None, event["name"])]


def _called(traced: Traced, kind: str) -> dict[int, str]:
    """The names of processes, or of threads."""
    key = {"process_name": "pid", "thread_name": "tid"}[kind]
    return {event[key]: event["args"]["name"] for event in _of(traced, "M", kind)}


def test_every_event_has_what_its_phase_needs(traced: Traced) -> None:
    assert {event["ph"] for event in traced} == set(REQUIRED)
    for event in traced:
        assert event.keys() >= {"ph", "pid", "tid", *REQUIRED[event["ph"]]}
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        assert event["ph"] == "M" or (isinstance(event["ts"], int) and event["ts"] >= 0)


def test_numbers_of_threads_are_unique_in_the_whole_trace(traced: Traced) -> None:
    owners = defaultdict(set)
    for event in traced:
        owners[event["tid"]].add(event["pid"])
    assert all(len(pids) == 1 for pids in owners.values())
    names = [event["tid"] for event in _of(traced, "M", "thread_name")]
    assert len(names) == len(set(names))


def test_slices_of_a_thread_do_not_overlap(traced: Traced) -> None:
    threads = defaultdict(list)
    for event in _of(traced, "X"):
        assert event["dur"] >= 0
        threads[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for slices in threads.values():
        assert all(end <= begin for (_, end), (begin, _) in pairwise(sorted(slices)))


def test_what_begins_on_an_asynchronous_track_ends_there_once(traced: Traced) -> None:
    under_way: set[tuple[int, str, str]] = set()
    for event in traced:
        if event["ph"] not in ("b", "e"):
            continue
        key = (event["pid"], event["name"], event["id2"]["local"])
        assert (key in under_way) == (event["ph"] == "e")
        under_way ^= {key}
    assert not under_way


def test_counters_count_numbers(traced: Traced) -> None:
    for event in _of(traced, "C"):
        assert all(isinstance(value, int) and value >= 0 for value in event["args"].values())


def test_a_flow_begins_once_ends_once_and_only_touches_slices(traced: Traced) -> None:
    flows = defaultdict(list)
    slices = defaultdict(list)
    for event in traced:
        if event["ph"] == "X":
            slices[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] in "stf":
            flows[event["id"]].append(event["ph"])
            assert any(begin <= event["ts"] <= end for begin, end in slices[event["tid"]]), "its slice comes before it"
    for phases in flows.values():
        assert (phases[0], phases[-1]) == ("s", "f")
        assert set(phases[1:-1]) <= {"t"}


def test_times_do_not_fall(traced: Traced) -> None:
    times = [event["ts"] for event in traced if event["ph"] != "M"]
    assert times == sorted(times)
    assert all(event["ph"] == "M" for event in traced[: len(traced) - len(times)])


def test_every_node_has_its_tracks_and_the_faults_have_theirs(traced: Traced) -> None:
    assert list(_called(traced, "process_name").values()) == ["faults", "n1", "n2", "n3", "n4"]
    threads = _called(traced, "thread_name")
    assert sorted(threads.values()) == sorted(["partition-1", "crash", *4 * ["inference", "aggregation", "events"]])
    faults = [(threads[event["tid"]], event["name"]) for event in _of(traced, "X") if event["cat"] == "fault"]
    assert faults == [("partition-1", "partition n1, n2 | n3, n4"), ("crash", "kill n4")]


def test_slices_are_the_inferences_where_they_were(played: tuple[Measurements, Any], traced: Traced) -> None:
    nodes, threads = _called(traced, "process_name"), _called(traced, "thread_name")
    drawn = {
        (nodes[event["pid"]], event["args"]["job"]): (event["ts"] / 1e6, event["dur"] / 1e6, threads[event["tid"]])
        for event in _of(traced, "X")
        if event["cat"] == "job" and event["args"]["text"] is not None
    }
    starts = {event["job"]: event["t"] for event in played[0].events if event["event"] == "start"}
    ends = [event for event in played[0].events if event["event"] == "end"]
    assert len(drawn) == len(ends) > 400
    for event in ends:
        begin, seconds, thread = drawn[event["node"], event["job"]]
        assert (begin, begin + seconds) == (pytest.approx(starts[event["job"]]), pytest.approx(event["t"]))
        assert thread == ("inference" if ".1@" in event["job"] else "aggregation")


def test_every_prompt_has_its_span_and_its_flow(played: tuple[Measurements, Any], traced: Traced) -> None:
    measured, _ = played
    spans = {event["args"]["prompt"]: event["args"]["outcome"] for event in _of(traced, "b", "prompt")}
    assert spans == {
        **{prompt: event["text"] for prompt, event in measured.answers.items()},
        **measured.failures,
    }
    assert len(_of(traced, "s")) == len({job.prompt for job in measured.jobs})


def test_messages_are_under_way_from_sender_to_receiver(played: tuple[Measurements, Any], traced: Traced) -> None:
    measured, _ = played
    counts = {event: sum(one["event"] == event for one in measured.events) for event in ("send", "receive")}
    drawn = [event for name in ("request", "response") for event in _of(traced, "b", name)]
    assert len(drawn) == counts["send"]
    assert sum(event["args"]["arrived"] for event in drawn) == counts["receive"] < counts["send"]


def test_the_queue_of_a_node_that_ends_is_empty(traced: Traced) -> None:
    (pid,) = [pid for pid, name in _called(traced, "process_name").items() if name == "n4"]
    (exited,) = _of(traced, "i", "exited")
    (length,) = [
        event["args"]["jobs"] for event in _of(traced, "C") if (event["pid"], event["ts"]) == (pid, exited["ts"])
    ]
    assert (exited["pid"], length) == (pid, 0)


def test_a_run_in_which_nothing_happened_has_a_trace() -> None:
    ready: Event = {"t": -1.0, "node": "a", "event": "ready", "load_seconds": 1.0}
    assert {event["ph"] for event in trace_events(Measurements([], {}), [])} == {"M"}
    assert {event["ph"] for event in trace_events(Measurements([ready], {}), [])} == {"M", "C"}


def test_the_file_is_a_json_object_with_the_events_as_they_are(
    played: tuple[Measurements, list[FaultRecord]], traced: Traced
) -> None:
    written = json.loads(trace_json(*played))
    assert written == {"displayTimeUnit": "ms", "traceEvents": traced}


def test_jobs_that_no_prompt_asked_for_and_ones_that_never_ended_are_drawn() -> None:
    events: list[Event] = [
        {"t": -1.0, "node": "a", "event": "ready", "load_seconds": 1.0},
        {"t": 1.0, "node": "a", "event": "enqueue", "job": "request-1@a", "layer": "soon"},
        {"t": 1.5, "node": "a", "event": "start", "job": "request-1@a"},
        {"t": 2.0, "node": "a", "event": "enqueue", "job": "request-2@a"},
        {"t": 3.0, "node": HOST, "event": "exited", "who": "a", "reason": "out of memory"},
        {"t": 4.0, "node": "a", "event": "ready", "load_seconds": 1.0},
    ]
    traced = trace_events(Measurements(events, {}), [])
    (slice_,) = _of(traced, "X")
    assert (slice_["name"], slice_["ts"], slice_["dur"]) == ("request-1@a", 1_500_000, 1_500_000)
    waits = [(event["ph"], event["id2"]["local"], event["ts"]) for event in traced if event["name"] == "waiting"]
    assert waits == [
        ("b", "request-1@a", 1_000_000),
        ("e", "request-1@a", 1_500_000),
        ("b", "request-2@a", 2_000_000),
        ("e", "request-2@a", 3_000_000),
    ]


def test_jobs_that_a_node_does_at_the_same_time_get_threads_of_their_own() -> None:
    events: list[Event] = [{"t": -1.0, "node": "a", "event": "ready", "load_seconds": 1.0}]
    for number, (start, end) in enumerate([(0.0, 3.0), (1.0, 2.0), (2.0, 4.0), (2.5, 5.0)], 1):
        events += [
            {"t": 0.0, "node": "a", "event": "enqueue", "job": f"p{number}.1@a", "prompt": f"p{number}", "layer": "1"},
            {"t": start, "node": "a", "event": "start", "job": f"p{number}.1@a"},
            {"t": end, "node": "a", "event": "end", "job": f"p{number}.1@a", "text": "x", "tokens": 1},
        ]
    traced = trace_events(Measurements(sorted(events, key=lambda event: event["t"]), {}), [])
    threads = _called(traced, "thread_name")
    assert [(event["name"], threads[event["tid"]]) for event in _of(traced, "X")] == [
        ("p1", "inference"),
        ("p2", "inference 2"),
        ("p3", "inference 2"),
        ("p4", "inference 3"),
    ]


def test_what_the_stages_of_a_ring_computed_is_drawn_where_it_was() -> None:
    events: list[Event] = [
        {"t": 0.0, "node": "a", "event": "ring_closed", "epoch": 1, "samples": 0},
        {"t": 1.0, "node": "b", "event": "computed", "rows": 4, "seconds": 0.5},
        {"t": 1.3, "node": "b", "event": "computed", "rows": 1, "seconds": 0.4},  # noted late: it had begun before
    ]
    traced = trace_events(Measurements(events, {}), [])
    threads = _called(traced, "thread_name")
    slices = [(threads[event["tid"]], event["ts"], event["dur"], event["args"]) for event in _of(traced, "X")]
    assert slices == [("stage", 500_000, 500_000, {"rows": 4}), ("stage", 1_000_000, 300_000, {"rows": 1})]
    assert [event["args"] for event in _of(traced, "i", "ring_closed")] == [{"epoch": 1, "samples": 0}]


def test_a_node_called_faults_does_not_share_the_track_of_the_faults() -> None:
    events = [
        {"t": 0.0, "node": "faults", "event": "enqueue", "job": "p1.1@faults"},
        {"t": 0.0, "node": "faults", "event": "start", "job": "p1.1@faults"},
        {"t": 2.0, "node": "faults", "event": "end", "job": "p1.1@faults", "tokens": 1, "text": "x"},
    ]
    cut = FaultRecord(name="cut-1", kind="cut", subject="a-s1", awaited="1s", asked=1.0, began=1.0, ended=2.0)
    slices = _of(trace_events(Measurements(events, {}), [cut]), "X")
    of_faults = {event["pid"] for event in slices if event["cat"] == "fault"}
    of_nodes = {event["pid"] for event in slices if event["cat"] != "fault"}
    assert of_faults and of_nodes and not of_faults & of_nodes
