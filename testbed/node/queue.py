"""The one queue in front of a node's model: first come, first served."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from testbed.node.model import ChatModel, Completion, Message, Sampling
from testbed.node.trace import Trace
from testbed.patterns.participant import JobError


@dataclass(frozen=True)
class Task:
    """A job as it waits: the chat to complete and whoever waits for it."""

    job: str
    messages: Sequence[Message]
    sampling: Sampling
    done: "asyncio.Future[Completion]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class InferenceQueue:
    """Runs jobs one after the other, in the order of their arrival, in a thread that leaves the event loop free."""

    def __init__(self, model: ChatModel, trace: Trace) -> None:
        self._model = model
        self._trace = trace
        self._waiting: asyncio.Queue[Task] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "inference")

    async def complete(
        self, job: str, messages: Sequence[Message], sampling: Sampling, origin: Mapping[str, str]
    ) -> Completion:
        """Queue a job and wait for its completion; ``origin`` is traced with it. Raises JobError."""
        task = Task(job, messages, sampling)
        self._trace.emit("enqueue", job=job, **origin)
        self._waiting.put_nowait(task)
        # A caller that gives up must not take the job back: the model may be at it already.
        return await asyncio.shield(task.done)

    async def serve(self) -> None:
        """Work through the queue for ever."""
        loop = asyncio.get_running_loop()
        while True:
            task = await self._waiting.get()
            outcome = await loop.run_in_executor(self._thread, self._run, task)
            if isinstance(outcome, Completion):
                task.done.set_result(outcome)
            else:
                task.done.set_exception(outcome)
                task.done.exception()  # nobody may be waiting any more; that is no fault to log

    def _run(self, task: Task) -> Completion | JobError:
        self._trace.emit("start", job=task.job)
        first = True

        def on_token() -> None:
            nonlocal first
            if first:
                self._trace.emit("first_token", job=task.job)
            first = False

        try:
            completion = self._model.complete(task.messages, task.sampling, on_token)
        except Exception as error:  # llama.cpp, a chat template, …: whatever it is, it must not end the queue
            self._trace.emit("job_failed", job=task.job, reason=str(error))
            return JobError(str(error))
        self._trace.emit(
            "end",
            job=task.job,
            prompt_tokens=completion.prompt_tokens,
            tokens=completion.tokens,
            text=completion.text,
        )
        return completion
