"""A node in virtual time: one queue, first come, first served, with one server."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from testbed.patterns.participant import Completion, JobError
from testbed.patterns.protocol import QueueOptions
from testbed.simulation.calibration import Kind
from testbed.simulation.loop import VirtualLoop


class Emit(Protocol):
    """Records an event of a node at this virtual time."""

    def __call__(self, node: str, event: str, **fields: object) -> None: ...


@dataclass(slots=True)
class Job:
    """A call at the node that does it, and what it will say. ``settle`` is told at its end, or why there is none."""

    name: str
    kind: Kind
    own: bool
    origin: dict[str, str]
    completion: Completion
    settle: Callable[[Completion | JobError], None] = lambda _: None


class SimulatedNode:
    """A node that does jobs. ``busy`` are seconds of work, ``area`` the job-seconds in its queue until ``since``."""

    def __init__(
        self, name: str, loop: VirtualLoop, emit: Emit, options: QueueOptions, service: Callable[[Job, bool], float]
    ) -> None:
        self.name = name
        self._loop = loop
        self._emit = emit
        self._options = options
        self._service = service
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self.busy = 0.0
        self.area = 0.0
        self.since = 0.0

    def __len__(self) -> int:
        return len(self._waiting) + (self._running is not None)

    def enqueue(self, job: Job) -> None:
        """Queue a job, and begin it if there is no other. A full queue does as the scenario's `queue` says."""
        if len(self) >= self._options.limit and not self._make_room(job):
            return
        self._count()
        self._emit(self.name, "enqueue", job=job.name, **job.origin)
        if self._running is None:
            self._start(job, first=True)
        else:
            self._waiting.append(job)

    def cancel(self, name: str, reason: str) -> None:
        """Take a job out of the queue, unless it has begun."""
        job = next((job for job in self._waiting if job.name == name), None)
        if job is not None:
            self._count()
            self._waiting.remove(job)
            self._emit(self.name, "cancelled", job=name, reason=reason)

    def _make_room(self, job: Job) -> bool:
        full = JobError(f"the queue is full ({self._options.limit} jobs)")
        if self._options.overflow == "reject" or not self._waiting:
            self._emit(self.name, "rejected", job=job.name, **job.origin)
            job.settle(full)
            return False
        self._count()
        oldest = self._waiting.popleft()
        self._emit(self.name, "dropped", job=oldest.name)
        oldest.settle(full)
        return True

    def _start(self, job: Job, first: bool) -> None:
        self._running = job
        seconds = self._service(job, first)
        self.busy += seconds
        self._emit(self.name, "start", job=job.name)
        self._loop.call_at(self._loop.time() + seconds, self._end)

    def _end(self) -> None:
        job = self._running
        assert job is not None
        self._count()
        done = job.completion
        self._emit(
            self.name,
            "end",
            job=job.name,
            prompt_tokens=done.prompt_tokens,
            tokens=done.tokens,
            text=done.text,
            stopped=done.stopped,
            logprobs=None if done.logprobs is None else vars(done.logprobs),
        )
        self._running = None
        if self._waiting:
            self._start(self._waiting.popleft(), first=False)
        job.settle(done)

    def _count(self) -> None:
        """Add up the queue's length until now, before it changes."""
        now = self._loop.time()
        self.area += len(self) * (now - self.since)
        self.since = now
