"""The queue of a node that does several jobs at once: continuous batching.

A job waits for a free slot, and its prompt is read between the others' tokens. One token of each slot is computed as
one batch, which reads the weights once. Order and batches are those of a ring of one node
(:mod:`testbed.node.ring.scheduling`).
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread

from testbed.node.engine.model import Answer, ChatModel
from testbed.node.engine.queue import ABANDONED, CancelledJobError, ModelQueue, Outcome, Task
from testbed.node.engine.slots.sampler import Drawn
from testbed.node.engine.slowness import Slowness
from testbed.node.engine.stage import Rows
from testbed.node.event_log import EventWriter
from testbed.node.ring.scheduling import Batch, Schedule
from testbed.patterns.participant import JobError
from testbed.patterns.protocol import QueueOptions

_Done = asyncio.Future[Outcome | JobError]


@dataclass(frozen=True)
class _Job:
    """A job in a slot, its answer so far, and the future of its outcome."""

    task: Task
    answer: Answer
    slot: int
    done: _Done


class SlotQueue(ModelQueue[ChatModel]):
    """The queue of a model with several slots, which computes in a thread beside the event loop."""

    def __init__(self, model: ChatModel, slowness: Slowness, log: EventWriter, options: QueueOptions) -> None:
        super().__init__(model, log, options)
        self._slowness = slowness
        self._running: dict[str, Task] = {}
        self._taken: SimpleQueue[tuple[Task, _Done] | None] = SimpleQueue()
        self._stopping = Event()
        self._schedule = Schedule(1, model.slots, model.batch)
        self._jobs: dict[int, _Job] = {}
        self._numbers = itertools.count()

    async def serve(self) -> None:
        """Work through the queue for ever."""
        Thread(target=self._work, name="inference").start()
        try:
            async with asyncio.TaskGroup() as slots:
                for _ in range(self._model.slots):
                    slots.create_task(self._serve_slot())
        finally:
            self._stopping.set()
            self._taken.put(None)

    def _stop(self, job: str) -> None:
        if job in self._running:
            self._running[job].abandoned.set()

    async def _serve_slot(self) -> None:
        while True:
            task = await self._take()
            self._running[task.job] = task
            done: _Done = asyncio.get_running_loop().create_future()
            self._taken.put((task, done))
            outcome = await done
            del self._running[task.job]
            self._settle(task, outcome)

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stopping.is_set():
            if self._jobs and self._taken.empty():
                self._advance()
            elif taken := self._taken.get():
                self._begin(*taken)

    def _begin(self, task: Task, done: _Done) -> None:
        self._log.emit("start", job=task.job)
        try:
            if task.draft is not None:
                self._conclude(task, done, self._verified(task, task.draft))
            else:
                self._enter(task, done)
        except Exception as error:  # whatever llama.cpp or a chat template raises must not end the queue
            self._conclude(task, done, error if isinstance(error, JobError) else JobError(str(error)))

    def _enter(self, task: Task, done: _Done) -> None:
        """Give a job a slot; raises JobError, or whatever a chat template raises."""
        with self._slowness.stretched():
            answer = self._model.begin(task.messages, task.sampling)
        sample = self._schedule.begin(next(self._numbers), answer.prompt)
        sample.sent = self._model.clear(sample.place, answer.prompt)
        self._jobs[sample.number] = _Job(task, answer, sample.place, done)

    def _verified(self, task: Task, draft: Sequence[int]) -> Outcome:
        """The verification of a draft, in a slot that is free; the other slots wait."""
        slot = min(set(range(self._model.slots)) - {job.slot for job in self._jobs.values()})
        with self._slowness.stretched():
            return self._model.verify(task.messages, draft, task.sampling, slot)

    def _advance(self) -> None:
        """Compute the next batch."""
        batch = self._schedule.next()
        assert batch is not None  # nothing is under way: all that is computed is drawn at once
        try:
            with self._slowness.stretched():
                drawn = self._compute(batch)
        except Exception as error:  # as above
            for number in {row.sample for row in batch.rows}:
                self._end(number, JobError(str(error)))
            return
        for row, found in drawn:
            self._add(batch, row, found)

    def _compute(self, batch: Batch) -> list[tuple[int, Drawn | JobError]]:
        jobs = [self._jobs[row.sample] for row in batch.rows]
        rows = Rows([job.slot for job in jobs], [row.position for row in batch.rows])
        samplers = {number: jobs[number].answer.sampler for number, row in enumerate(batch.rows) if row.draw}
        return list(self._model.read(rows, batch.tokens, samplers))

    def _add(self, batch: Batch, row: int, drawn: Drawn | JobError) -> None:
        number = batch.rows[row].sample
        job = self._jobs[number]
        if job.task.abandoned.is_set():
            drawn = CancelledJobError(ABANDONED)
        if isinstance(drawn, JobError):
            self._end(number, drawn)
            return
        list(self._schedule.drawn([batch.rows[row]], [drawn.token]))
        if not job.answer.drawn:
            self._log.emit("first_token", job=job.task.job)
        if text := job.answer.add(drawn):
            job.task.on_text(text)
        if job.answer.ended:
            self._end(number, job.answer.completion)

    def _end(self, number: int, outcome: Outcome | JobError) -> None:
        job = self._jobs.pop(number)
        self._schedule.end(number)
        job.answer.sampler.close()
        self._conclude(job.task, job.done, outcome)

    def _conclude(self, task: Task, done: _Done, outcome: Outcome | JobError) -> None:
        self._ended(task, outcome)
        done.get_loop().call_soon_threadsafe(done.set_result, outcome)
