"""``trace.json``: a run in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.

    process     the faults; each node
    thread      each fault; of a node inference | each further role of calls | events, and more if it does several jobs
                at a time; of a node in a ring also stage
    async       prompts | waiting | requests | responses: what overlaps at a node
    counter     queue
    flow        a prompt's way from job to job

Format: "Trace Event Format" (Google, 2016). Times are whole microseconds since the beginning of play.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from testbed.analysis.events import HOST, Event
from testbed.analysis.faults import FaultRecord
from testbed.analysis.measurements import Measurements
from testbed.analysis.spans import JobSpan, MessageSpan, message_spans, node_of

TraceEvent = dict[str, Any]

_FAULTS: Final = HOST
"""The process of the faults. No node has its name."""
_INFERENCE, _EVENTS = "inference", "events"
_PLAIN_ROLES: Final = ("", "answer")
"""Roles of the jobs on the thread ``inference``; those of any other role have a thread of their own."""

_INSTANTS: Final = (
    *(
        "ready",
        "exited",
        "resumed",
        "rejected",
        "dropped",
        "cancelled",
        "job_failed",
        "duplicate",
        "late",
        "retry",
        "ask_failed",
    ),
    *("neighbour_suspected", "neighbour_lost", "neighbour_back"),
    *("ring_closed", "ring_broken", "taken_over", "tuned", "frame_rejected"),
    *("unauthenticated", "impersonated", "foreign_model"),
)
"""Further events that are shown of a node; docs/results.md explains them."""


class _Tracks:
    """The numbers of processes and threads by name. All are unique, because Perfetto names threads by number alone."""

    def __init__(self, faults: Sequence[FaultRecord], nodes: Sequence[str], roles: Sequence[str]) -> None:
        self._numbers = itertools.count(1)
        self.processes = {name: next(self._numbers) for name in (_FAULTS, *nodes)}
        self._threads: dict[tuple[str, str], int] = {}
        threads = (_INFERENCE, *roles, _EVENTS)
        for process, thread in (*((_FAULTS, fault.name) for fault in faults), *itertools.product(nodes, threads)):
            self.thread(process, thread)

    def thread(self, process: str, name: str) -> int:
        """The number of a thread of a process, which is new if it was not known."""
        if (process, name) not in self._threads:
            self._threads[process, name] = next(self._numbers)
        return self._threads[process, name]

    def names(self) -> Iterator[TraceEvent]:
        """The events that name processes and threads, and keep processes in order."""
        for process, pid in self.processes.items():
            yield {"ph": "M", "name": "process_name", "pid": pid, "tid": pid, "args": {"name": process or "faults"}}
            yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": pid, "args": {"sort_index": pid}}
        for (process, thread), tid in self._threads.items():
            pid = self.processes[process]
            yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": thread}}


def trace_json(measured: Measurements, faults: Sequence[FaultRecord]) -> str:
    """The content of ``trace.json``."""
    trace = {"displayTimeUnit": "ms", "traceEvents": trace_events(measured, faults)}
    return json.dumps(trace, ensure_ascii=False, separators=(",", ":"))


def trace_events(measured: Measurements, faults: Sequence[FaultRecord]) -> list[TraceEvent]:
    """The events of the trace: the names of tracks, then all events in the order of time."""
    events = measured.events
    roles = sorted({job.role for job in measured.jobs} - {*_PLAIN_ROLES})
    tracks = _Tracks(faults, sorted({event["node"] for event in events} - {HOST}), roles)
    nodes, end = tracks.processes, measured.duration
    placed = list(_placed(measured.jobs, tracks, end))
    found = [
        *_faults(faults, tracks, end),
        *_queues(measured, nodes),
        *_prompts(measured, nodes),
        *(part for job in measured.jobs for part in _waiting(job, nodes[job.node], end)),
        *(_inference(job, nodes[job.node], tid, end) for job, tid in placed),
        *(part for message in message_spans(events) for part in _message(message, nodes[message.sender])),
        *_computed(events, tracks),
        *_flows(placed, nodes),
        *_instants(events, tracks),
    ]
    in_play = (event for event in found if event["ts"] >= 0)
    return [*tracks.names(), *sorted(in_play, key=lambda event: event["ts"])]


def _faults(faults: Sequence[FaultRecord], tracks: _Tracks, end: float) -> Iterator[TraceEvent]:
    pid = tracks.processes[_FAULTS]
    for fault in faults:
        if fault.began is not None:
            span = fault.began, max(fault.began, end) if fault.ended is None else fault.ended
            said = {"awaited": fault.awaited, "asked": fault.asked}
            yield _slice(
                f"{fault.kind} {fault.subject}", "fault", pid, tracks.thread(_FAULTS, fault.name), span, **said
            )


def _queues(measured: Measurements, processes: Mapping[str, int]) -> Iterator[TraceEvent]:
    for node, steps in measured.queue_steps.items():
        pid, lengths = processes[node], itertools.accumulate(step for _, step in steps)
        for (t, _), length in zip(steps, lengths, strict=True):
            yield {**_event("C", "queue", pid, pid, t), "args": {"jobs": length}}


def _prompts(measured: Measurements, processes: Mapping[str, int]) -> Iterator[TraceEvent]:
    """Each prompt from its hand-over to its owner until its answer, or until its failure."""
    for prompt, event in measured.prompts.items():
        end = measured.ends.get(prompt, {"t": measured.duration})
        span = event["t"], max(event["t"], end["t"])
        said = {"text": event["text"], "truth": event["truth"], "outcome": end.get("text", end.get("reason"))}
        yield from _async("prompt", prompt, processes[event["owner"]], span, prompt=prompt, **said)


def _waiting(job: JobSpan, pid: int, end: float) -> Iterator[TraceEvent]:
    yield from _async("waiting", job.name, pid, job.queueing(end), job=job.name, layer=job.layer, owner=job.owner)


def _placed(jobs: Sequence[JobSpan], tracks: _Tracks, end: float) -> Iterator[tuple[JobSpan, int]]:
    """The jobs in the order of their starts, each with the first free thread of its role."""
    free: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for job in sorted((job for job in jobs if job.started is not None), key=lambda job: job.started or 0.0):
        kind = _INFERENCE if job.role in _PLAIN_ROLES else job.role
        begin, done = job.inference(end)
        until = free[job.node, kind]
        lane = next((lane for lane, t in enumerate(until) if t <= begin), len(until))
        until[lane : lane + 1] = [done]
        yield job, tracks.thread(job.node, kind if lane == 0 else f"{kind} {lane + 1}")


def _inference(job: JobSpan, pid: int, tid: int, end: float) -> TraceEvent:
    said = {"job": job.name, "layer": job.layer, "owner": job.owner, "tokens": job.tokens, "text": job.text}
    return _slice(job.prompt or job.name, "job", pid, tid, job.inference(end), **said)


def _computed(events: Sequence[Event], tracks: _Tracks) -> Iterator[TraceEvent]:
    """Batches of the stages of a ring. A batch is recorded a moment after its end, when the next can have begun."""
    done: defaultdict[str, float] = defaultdict(float)
    for event in events:
        if event["event"] == "computed":
            node, end = event["node"], event["t"]
            span = max(end - event["seconds"], done[node]), end
            place = tracks.processes[node], tracks.thread(node, "stage")
            yield _slice("computing", "stage", *place, span, rows=event["rows"])
            done[node] = end


def _message(message: MessageSpan, pid: int) -> Iterator[TraceEvent]:
    """A message from its sending to its arrival; a lost one has no duration."""
    span = message.sent, message.sent if message.received is None else message.received
    arrived = message.received is not None
    said = {"message": message.name, "to": message.receiver, "bytes": message.size, "arrived": arrived}
    yield from _async(message.kind, message.name, pid, span, **said)


def _flows(placed: Sequence[tuple[JobSpan, int]], processes: Mapping[str, int]) -> Iterator[TraceEvent]:
    """An arrow from each job of a prompt to the one that began next, on any node."""
    ways: defaultdict[str, list[tuple[JobSpan, int]]] = defaultdict(list)
    for job, tid in placed:
        if job.prompt:
            ways[job.prompt].append((job, tid))
    for number, way in enumerate((way for way in ways.values() if len(way) > 1), 1):
        phases = ["s", *("t" for _ in way[2:]), "f"]
        for phase, (job, tid) in zip(phases, way, strict=True):
            step = _event(phase, "prompt", processes[job.node], tid, job.started or 0.0)
            yield {**step, "cat": "flow", "id": number, "bp": "e"}


def _instants(events: Sequence[Event], tracks: _Tracks) -> Iterator[TraceEvent]:
    for event in events:
        if event["event"] in _INSTANTS:
            node = node_of(event)
            said = {key: value for key, value in event.items() if key not in ("t", "node", "event", "who")}
            place = tracks.processes[node], tracks.thread(node, _EVENTS)
            yield {**_event("i", event["event"], *place, event["t"]), "s": "t", "args": said}


def _slice(name: str, kind: str, pid: int, tid: int, span: tuple[float, float], **args: object) -> TraceEvent:
    begin, end = map(_microseconds, span)
    return {**_event("X", name, pid, tid, span[0]), "cat": kind, "dur": end - begin, "args": args}


def _async(name: str, key: str, pid: int, span: tuple[float, float], **args: object) -> Iterator[TraceEvent]:
    """The beginning and the end of a span on the track ``name`` of a process; ``key`` identifies it there."""
    common = {"cat": name, "id2": {"local": key}}
    yield {**_event("b", name, pid, pid, span[0]), **common, "args": args}
    yield {**_event("e", name, pid, pid, span[1]), **common}


def _event(phase: str, name: str, pid: int, tid: int, t: float) -> TraceEvent:
    return {"ph": phase, "name": name, "pid": pid, "tid": tid, "ts": _microseconds(t)}


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
