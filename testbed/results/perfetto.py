"""``trace.json``: a run in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.

    process     the faults; each node
    thread      each fault, since they may overlap; of a node inference | aggregation | events, one thing at a time
    async       prompts | waiting | requests | responses: what overlaps at a node
    counter     queue
    flow        a prompt's way from job to job

Format: "Trace Event Format" (Google, 2016). Times are whole microseconds since the beginning of play.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from testbed.results.events import HOST, Event
from testbed.results.faults import FaultRecord
from testbed.results.metrics import Measurements
from testbed.results.spans import JobSpan, MessageSpan, message_spans

TraceEvent = dict[str, Any]

_FAULTS: Final = 1
_APART: Final = 10  # the numbers of nodes' processes: threads in between, since Perfetto wants all numbers to differ
_INFERENCE, _AGGREGATION, _EVENTS = (1, 2, 3)
_THREADS: Final = {_INFERENCE: "inference", _AGGREGATION: "aggregation", _EVENTS: "events"}

_INSTANTS: Final = (
    *("ready", "exited", "resumed", "rejected", "dropped", "job_failed", "duplicate", "late", "retry", "ask_failed"),
    *("neighbour_suspected", "neighbour_lost", "neighbour_back"),
)
"""What else is shown of a node; docs/results.md says what they mean."""


def write_trace(measured: Measurements, faults: Sequence[FaultRecord], path: Path) -> None:
    """Write the trace of a run."""
    trace = {"displayTimeUnit": "ms", "traceEvents": trace_events(measured, faults)}
    path.write_text(json.dumps(trace, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def trace_events(measured: Measurements, faults: Sequence[FaultRecord]) -> list[TraceEvent]:
    """The events of the trace: first what the tracks are called, then everything in the order of time."""
    events = measured.events
    nodes = sorted({event["node"] for event in events} - {HOST})
    processes = {node: _APART * number for number, node in enumerate(nodes, 1)}
    threads = {fault.name: _APART * (len(nodes) + 1) + number for number, fault in enumerate(faults)}
    found = [
        *_faults(faults, threads, measured.duration),
        *_queues(measured, processes),
        *_prompts(measured, processes),
        *(part for job in measured.jobs for part in _job(job, processes[job.node], measured.duration)),
        *(part for message in message_spans(events) for part in _message(message, processes[message.sender])),
        *_flows(measured.jobs, processes),
        *_instants(events, processes),
    ]
    in_play = (event for event in found if event["ts"] >= 0)
    return [*_names(processes, threads), *sorted(in_play, key=lambda event: event["ts"])]


def _names(processes: Mapping[str, int], faults: Mapping[str, int]) -> Iterator[TraceEvent]:
    yield _metadata("process_name", _FAULTS, _FAULTS, name="faults")
    yield from (_metadata("thread_name", _FAULTS, tid, name=fault) for fault, tid in faults.items())
    for node, pid in processes.items():
        yield _metadata("process_name", pid, pid, name=node)
        yield _metadata("process_sort_index", pid, pid, sort_index=pid)
        yield from (_metadata("thread_name", pid, pid + thread, name=name) for thread, name in _THREADS.items())


def _faults(faults: Sequence[FaultRecord], threads: Mapping[str, int], end: float) -> Iterator[TraceEvent]:
    for fault in faults:
        if fault.began is not None:
            what = f"{fault.kind} {fault.subject}"
            span = fault.began, max(fault.began, end) if fault.ended is None else fault.ended
            said = {"awaited": fault.awaited, "asked": fault.asked}
            yield _slice(what, "fault", _FAULTS, threads[fault.name], span, **said)


def _queues(measured: Measurements, processes: Mapping[str, int]) -> Iterator[TraceEvent]:
    for node, steps in measured.queue_steps.items():
        pid, lengths = processes[node], accumulate(step for _, step in steps)
        for (t, _), length in zip(steps, lengths, strict=True):
            yield {**_event("C", "queue", pid, pid, t), "args": {"jobs": length}}


def _prompts(measured: Measurements, processes: Mapping[str, int]) -> Iterator[TraceEvent]:
    """From when it was handed to its owner to its answer; one that has none, until its failure was seen."""
    ends = {event["prompt"]: event for event in measured.events if event["event"] in ("answer", "failed", "lost")}
    for prompt, event in measured.prompts.items():
        end = ends.get(prompt, {"t": measured.duration})
        span = event["t"], max(event["t"], end["t"])
        said = {"text": event["text"], "truth": event["truth"], "outcome": end.get("text", end.get("reason"))}
        yield from _async("prompt", prompt, processes[event["owner"]], span, prompt=prompt, **said)


def _job(job: JobSpan, pid: int, end: float) -> Iterator[TraceEvent]:
    said = {"job": job.name, "layer": job.layer, "owner": job.owner}
    yield from _async("waiting", job.name, pid, job.queueing(end), **said)
    if job.started is not None:
        what = {"tokens": job.tokens, "text": job.text}
        yield _slice(job.prompt or job.name, "job", pid, _thread(job, pid), job.inference(end), **said, **what)


def _thread(job: JobSpan, pid: int) -> int:
    return pid + (_AGGREGATION if job.aggregates else _INFERENCE)


def _message(message: MessageSpan, pid: int) -> Iterator[TraceEvent]:
    """One that did not arrive is over as soon as it was sent."""
    span = message.sent, message.sent if message.received is None else message.received
    arrived = message.received is not None
    said = {"message": message.name, "to": message.receiver, "bytes": message.size, "arrived": arrived}
    yield from _async(message.kind, message.name, pid, span, **said)


def _flows(jobs: Sequence[JobSpan], processes: Mapping[str, int]) -> Iterator[TraceEvent]:
    """An arrow from each job of a prompt to the one that began next, wherever that was."""
    ways: defaultdict[str, list[tuple[float, JobSpan]]] = defaultdict(list)
    for job in jobs:
        if job.prompt and job.started is not None:
            ways[job.prompt].append((job.started, job))
    for number, way in enumerate((way for way in ways.values() if len(way) > 1), 1):
        ordered = sorted(way, key=lambda step: step[0])
        phases = ["s", *("t" for _ in ordered[2:]), "f"]
        for phase, (started, job) in zip(phases, ordered, strict=True):
            pid = processes[job.node]
            yield {**_event(phase, "prompt", pid, _thread(job, pid), started), "cat": "flow", "id": number, "bp": "e"}


def _instants(events: Sequence[Event], processes: Mapping[str, int]) -> Iterator[TraceEvent]:
    for event in events:
        if event["event"] in _INSTANTS:
            pid = processes[event["who"] if event["event"] == "exited" else event["node"]]
            said = {key: value for key, value in event.items() if key not in ("t", "node", "event", "who")}
            yield {**_event("i", event["event"], pid, pid + _EVENTS, event["t"]), "s": "t", "args": said}


def _metadata(kind: str, pid: int, tid: int, **args: object) -> TraceEvent:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": args}


def _slice(name: str, kind: str, pid: int, tid: int, span: tuple[float, float], **args: object) -> TraceEvent:
    begin, end = map(_microseconds, span)
    return {**_event("X", name, pid, tid, span[0]), "cat": kind, "dur": end - begin, "args": args}


def _async(name: str, key: str, pid: int, span: tuple[float, float], **args: object) -> Iterator[TraceEvent]:
    """The name says which track it is on, so all of a kind have one; ``key`` tells them apart."""
    common = {"cat": name, "id": f"{pid}/{key}"}
    yield {**_event("b", name, pid, pid, span[0]), **common, "args": args}
    yield {**_event("e", name, pid, pid, span[1]), **common}


def _event(phase: str, name: str, pid: int, tid: int, t: float) -> TraceEvent:
    return {"ph": phase, "name": name, "pid": pid, "tid": tid, "ts": _microseconds(t)}


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
