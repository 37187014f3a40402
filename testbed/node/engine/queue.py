"""The one queue of a node's jobs: first come, first served, and bounded."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from testbed.node.engine.chat import ChatMessage
from testbed.node.engine.model import Completion, LanguageModel, Sampling
from testbed.node.event_log import EventWriter
from testbed.patterns.participant import JobError
from testbed.patterns.protocol import QueueOptions


class OverloadedError(JobError):
    """The queue is full. The job has not been done, and may be asked for again."""


@dataclass(frozen=True)
class Task:
    """A job as it waits: the chat to complete and whoever waits for it."""

    job: str
    messages: Sequence[ChatMessage]
    sampling: Sampling
    done: "asyncio.Future[Completion]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class JobQueue(ABC):
    """Jobs wait here until what serves the queue takes them, traces how they begin and end, and settles them."""

    def __init__(self, log: EventWriter, options: QueueOptions) -> None:
        self._log = log
        self._options = options
        self._waiting: asyncio.Queue[Task] = asyncio.Queue()
        self._at_work = 0

    async def complete(
        self, job: str, messages: Sequence[ChatMessage], sampling: Sampling, origin: Mapping[str, str]
    ) -> Completion:
        """Queue a job and wait for its completion; ``origin`` is traced with it.

        Raises JobError if it fails, OverloadedError if there is no room for it or it had to give way to another.
        """
        if self._full:
            self._overflow(job, origin)
        task = Task(job, messages, sampling)
        self._log.emit("enqueue", job=job, **origin)
        self._waiting.put_nowait(task)
        # A caller that gives up must not take the job back: the model may be at it already.
        return await asyncio.shield(task.done)

    @abstractmethod
    async def serve(self) -> None:
        """Work through the queue for ever."""

    async def _take(self) -> Task:
        """Wait for a job; from now on it is at work."""
        task = await self._waiting.get()
        self._at_work += 1
        return task

    def _settle(self, task: Task, outcome: Completion | JobError) -> None:
        """Tell whoever waits for a job that was at work what came of it."""
        self._at_work -= 1
        if isinstance(outcome, Completion):
            task.done.set_result(outcome)
        else:
            _fail(task, outcome)

    def _ended(self, task: Task, outcome: Completion | JobError) -> None:
        """EventWriter how a job at work ended."""
        if isinstance(outcome, JobError):
            self._log.emit("job_failed", job=task.job, reason=str(outcome))
            return
        self._log.emit(
            "end",
            job=task.job,
            prompt_tokens=outcome.prompt_tokens,
            tokens=outcome.tokens,
            text=outcome.text,
            stopped=outcome.stopped,
        )

    @property
    def _full(self) -> bool:
        return self._waiting.qsize() + self._at_work >= self._options.limit

    def _overflow(self, job: str, origin: Mapping[str, str]) -> None:
        """Make room for a job, or raise OverloadedError. What is at work is not interrupted."""
        full = OverloadedError(f"the queue is full ({self._options.limit} jobs)")
        if self._options.overflow == "reject" or self._waiting.empty():
            self._log.emit("rejected", job=job, **origin)
            raise full
        oldest = self._waiting.get_nowait()
        self._log.emit("dropped", job=oldest.job)
        _fail(oldest, full)


class InferenceQueue(JobQueue):
    """The queue of a node's own model, which does one job at a time, in a thread that leaves the event loop free."""

    def __init__(self, model: LanguageModel, log: EventWriter, options: QueueOptions) -> None:
        super().__init__(log, options)
        self._model = model
        self._thread = ThreadPoolExecutor(1, "inference")

    async def serve(self) -> None:
        """Work through the queue for ever."""
        loop = asyncio.get_running_loop()
        while True:
            task = await self._take()
            self._settle(task, await loop.run_in_executor(self._thread, self._run, task))

    async def ready(self) -> None:
        """It is: its model is in memory."""

    def _run(self, task: Task) -> Completion | JobError:
        self._log.emit("start", job=task.job)
        outcome = self._infer(task)
        self._ended(task, outcome)
        return outcome

    def _infer(self, task: Task) -> Completion | JobError:
        first = True

        def on_token() -> None:
            nonlocal first
            if first:
                self._log.emit("first_token", job=task.job)
            first = False

        try:
            return self._model.complete(task.messages, task.sampling, on_token)
        except Exception as error:  # llama.cpp, a chat template, …: whatever it is, it must not end the queue
            return JobError(str(error))


def _fail(task: Task, error: JobError) -> None:
    task.done.set_exception(error)
    task.done.exception()  # nobody may be waiting any more; that is no fault to log
