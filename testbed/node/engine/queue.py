"""The one queue of a node's jobs: first come, first served, and bounded."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Final, Generic, TypeVar

from testbed.node.engine.model import LanguageModel, OnText, Sampling
from testbed.node.event_log import EventWriter
from testbed.patterns.participant import ChatMessage, Completion, JobError, Verification
from testbed.patterns.protocol import QueueOptions

Outcome = Completion | Verification


ABANDONED: Final = "its connection has ended"
"""Why a request without a name is not done."""


def ignore(text: str) -> None:
    """Take no notice of a text that grows."""
    del text


class NotDoneError(JobError):
    """The job left the queue before it began. It can be asked for again."""


class OverloadedError(NotDoneError):
    """The queue is full."""


class CancelledJobError(NotDoneError):
    """Nobody waits for the job any more."""


@dataclass(frozen=True)
class Task:
    """A job as it waits: the chat to complete, or the draft to verify, and the future of its outcome."""

    job: str
    messages: Sequence[ChatMessage]
    sampling: Sampling
    draft: Sequence[int] | None = None
    on_text: OnText = ignore
    abandoned: threading.Event = field(default_factory=threading.Event)
    """Set once nobody can ask for the outcome any more."""
    done: "asyncio.Future[Outcome]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class JobQueue(ABC):
    """Holds jobs until whoever serves the queue takes them, traces their beginning and end, and settles them."""

    def __init__(self, log: EventWriter, options: QueueOptions) -> None:
        self._log = log
        self._options = options
        self._waiting: deque[Task] = deque()
        self._arrived = asyncio.Event()
        self._at_work = 0

    async def complete(
        self,
        job: str,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        origin: Mapping[str, str],
        on_text: OnText = ignore,
    ) -> Completion:
        """Queue a job and wait for its completion. ``origin`` is traced with it.

        ``on_text`` is told the text as it grows, from whatever thread.

        Raises OverloadedError if the queue has no room, or drops the job for another; CancelledJobError after
        :meth:`cancel`; JobError if the job fails. A caller that stops waiting does not cancel the job.
        """
        outcome = await self._outcome(Task(job, messages, sampling, on_text=on_text), origin)
        assert isinstance(outcome, Completion)
        return outcome

    async def verify(
        self,
        job: str,
        messages: Sequence[ChatMessage],
        draft: Sequence[int],
        sampling: Sampling,
        origin: Mapping[str, str],
    ) -> Verification:
        """Queue the verification of a draft and wait for it; otherwise as :meth:`complete`."""
        outcome = await self._outcome(Task(job, messages, sampling, draft), origin)
        assert isinstance(outcome, Verification)
        return outcome

    def cancel(self, job: str, reason: str) -> bool:
        """Take a job out of the queue; False if it has begun or is not there.

        A job that has begun runs to its end: its tokens are mostly computed, a repeated request gets them for nothing,
        and how long an inference takes stays independent of the network.
        """
        task = next((task for task in self._waiting if task.job == job), None)
        if task is None:
            return False
        self._waiting.remove(task)
        self._log.emit("cancelled", job=job, reason=reason)
        _fail(task, CancelledJobError(reason))
        return True

    def abandon(self, job: str) -> None:
        """End a job that nobody can ask for any more, be it in the queue or at work; it ends with NotDoneError."""
        if not self.cancel(job, ABANDONED):
            self._stop(job)

    @abstractmethod
    def _stop(self, job: str) -> None:
        """End a job at work, if there is one of this name."""

    @abstractmethod
    async def serve(self) -> None:
        """Work through the queue for ever."""

    async def _outcome(self, task: Task, origin: Mapping[str, str]) -> Outcome:
        if self._full:
            self._overflow(task.job, origin)
        self._log.emit("enqueue", job=task.job, **origin)
        self._waiting.append(task)
        self._arrived.set()
        return await asyncio.shield(task.done)

    async def _take(self) -> Task:
        """Wait for the job that has waited longest. It counts as at work until it is settled."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        self._at_work += 1
        return self._waiting.popleft()

    def _settle(self, task: Task, outcome: Outcome | JobError) -> None:
        """Give the outcome of a job at work to whoever waits for it."""
        self._at_work -= 1
        if isinstance(outcome, JobError):
            _fail(task, outcome)
        else:
            task.done.set_result(outcome)

    def _ended(self, task: Task, outcome: Outcome | JobError) -> None:
        """Trace the end of a job at work."""
        match outcome:
            case JobError():
                self._log.emit("job_failed", job=task.job, reason=str(outcome))
            case Completion(text, prompt_tokens, tokens, stopped, logprobs, model=model):
                self._log.emit(
                    "end",
                    job=task.job,
                    prompt_tokens=prompt_tokens,
                    tokens=tokens,
                    text=text,
                    stopped=stopped,
                    model=model,
                    logprobs=asdict(logprobs) if logprobs is not None else None,
                )
            case Verification(accepted, following, prompt_tokens):
                written = int(following is not None)
                verified = {"accepted": accepted, "next": following}
                self._log.emit("end", job=task.job, prompt_tokens=prompt_tokens, tokens=written, **verified)

    @property
    def _full(self) -> bool:
        return len(self._waiting) + self._at_work >= self._options.limit

    def _overflow(self, job: str, origin: Mapping[str, str]) -> None:
        """Make room for a job, or raise OverloadedError. A job at work is not interrupted."""
        full = OverloadedError(f"the queue is full ({self._options.limit} jobs)")
        if self._options.overflow == "reject" or not self._waiting:
            self._log.emit("rejected", job=job, **origin)
            raise full
        oldest = self._waiting.popleft()
        self._log.emit("dropped", job=oldest.job)
        _fail(oldest, full)


_Model = TypeVar("_Model", bound=LanguageModel)


class ModelQueue(JobQueue, Generic[_Model]):
    """The queue of a node's own model, which is in memory."""

    def __init__(self, model: _Model, log: EventWriter, options: QueueOptions) -> None:
        super().__init__(log, options)
        self._model = model

    async def ready(self) -> None:
        """Return at once: the model is in memory."""

    def check(self, messages: Sequence[ChatMessage]) -> None:
        self._model.check(messages)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        return self._model.count(messages)

    def vocabulary(self) -> str:
        return self._model.vocabulary

    def text_of(self, tokens: Sequence[int]) -> str:
        return self._model.text_of(tokens)


class InferenceQueue(ModelQueue[LanguageModel]):
    """The queue of a model that does one job at a time, in a thread beside the event loop."""

    def __init__(self, model: LanguageModel, log: EventWriter, options: QueueOptions) -> None:
        super().__init__(model, log, options)
        self._running: Task | None = None
        self._thread = ThreadPoolExecutor(1, "inference")

    async def serve(self) -> None:
        """Work through the queue for ever."""
        loop = asyncio.get_running_loop()
        while True:
            task = self._running = await self._take()
            self._settle(task, await loop.run_in_executor(self._thread, self._run, task))

    def _stop(self, job: str) -> None:
        if self._running is not None and self._running.job == job:
            self._running.abandoned.set()

    def _run(self, task: Task) -> Outcome | JobError:
        self._log.emit("start", job=task.job)
        outcome = self._infer(task)
        self._ended(task, outcome)
        return outcome

    def _infer(self, task: Task) -> Outcome | JobError:
        first = True

        def on_text(text: str) -> None:
            nonlocal first
            if task.abandoned.is_set():
                raise CancelledJobError(ABANDONED)
            if first:
                self._log.emit("first_token", job=task.job)
            first = False
            if text:
                task.on_text(text)

        try:
            if task.draft is not None:
                return self._model.verify(task.messages, task.draft, task.sampling)
            return self._model.complete(task.messages, task.sampling, on_text)
        except JobError as error:
            return error
        except Exception as error:  # whatever llama.cpp or a chat template raises must not end the queue
            return JobError(str(error))


def _fail(task: Task, error: JobError) -> None:
    task.done.set_exception(error)
    task.done.exception()  # marks it as seen: asyncio logs an error that nobody waits for
