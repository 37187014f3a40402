"""The head of a ring: the queue whose jobs the ring completes.

The head takes jobs as places become free, sends batches round the ring as scheduled, and adds the tokens that come home
to their samples. When the ring breaks, every cache counts as lost. The head then sends a reset of a new epoch round
until it comes home, and all samples go round again from their first token on.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Final

from testbed.node.engine.chat import ContextOverflowError
from testbed.node.engine.front import Front
from testbed.node.engine.queue import ABANDONED, CancelledJobError, JobQueue, Task
from testbed.node.engine.writing import Writer
from testbed.node.ring.hop import Hop, Seat
from testbed.node.ring.rehearsal import BrokenError, CannotComputeError, Rehearsal
from testbed.node.ring.scheduling import Sample, Schedule
from testbed.node.ring.tuning import Choice
from testbed.node.ring.wire.frames import Frame
from testbed.node.ring.wire.messages import (
    Activations,
    Drawing,
    Failing,
    FrameError,
    Freeing,
    Loss,
    Opening,
    Reset,
    RingMessage,
    Row,
    Tokens,
)
from testbed.patterns.participant import ChatMessage, Completion, JobError, LogProbabilities, TokenLogProbability

_EPOCHS: Final = 100  # a second; in 32 bits they last for more than a year


@dataclass
class RingJob:
    """A job in the ring: its sample, the number of the prompt's tokens, and the most tokens to draw.

    ``due`` is when its next token could be computed at the earliest, by the run's clock.
    """

    task: Task
    sample: Sample
    prompt: int
    limit: int
    drawing: Drawing
    writer: Writer
    due: float
    logprobs: list[float] = field(default_factory=list)
    """Of each token drawn, the natural logarithm of its probability."""

    @property
    def drawn(self) -> list[int]:
        """The tokens of the answer so far."""
        return self.sample.tokens[self.prompt :]

    def tell(self, text: str) -> None:
        """Pass on what the answer has grown by."""
        if text:
            self.task.on_text(text)

    @property
    def opening(self) -> Opening:
        """The message that announces the sample to all stages."""
        return Opening(self.sample.number, self.sample.place, self.drawing)


class Head(JobQueue):
    """The queue in front of a ring. ``front`` converts text to rows and back, ``seat`` is the head's own."""

    def __init__(self, seat: Seat, front: Front) -> None:
        super().__init__(seat.log, seat.config.queue)
        self._seat = seat
        self._pattern = seat.pattern
        self._front = front
        self._hop = Hop(seat, self._receive, self._lose)
        groups, places = seat.pattern.places
        self._schedule = Schedule(groups, places, seat.pattern.chunk)
        self._jobs: dict[int, RingJob] = {}
        self._numbers = itertools.count()
        self._notices: deque[RingMessage] = deque()  # of samples that begin and end; they go before any rows
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._rehearsal: Rehearsal | None = None
        self._epoch = 0
        self._whole = asyncio.Event()
        self._broken = asyncio.Event()
        self._broken.set()  # no reset has come round
        self._lost: int | None = None
        self._missing: Sequence[int] = ()
        self._given_up: JobError | None = None

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for work in (self._hop.run(), self._admit(), self._feed(), self._mend()):
                tasks.create_task(work)

    async def ready(self) -> None:
        """Wait until the ring is closed and, with `schedule: auto`, tuned."""
        await self._room.wait()

    def check(self, messages: Sequence[ChatMessage]) -> None:
        self._front.check(messages, self._seat.config.context)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        return self._front.count(messages, self._seat.config.context)

    def vocabulary(self) -> str:
        """Refuse; raises JobError."""
        raise _no_drafts(self._seat)

    def text_of(self, tokens: Sequence[int]) -> str:
        """Refuse; raises JobError."""
        del tokens
        raise _no_drafts(self._seat)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    async def _admit(self) -> None:
        while True:
            await self._room.wait()
            self._begin(await self._take())

    def _begin(self, task: Task) -> None:
        self._log.emit("start", job=task.job)
        try:
            job = self._enter(task)
        except Exception as error:  # a chat template, a chat that is too long, …: it must not end the queue
            self._conclude(task, error if isinstance(error, JobError) else JobError(str(error)))
            return
        self._jobs[job.sample.number] = job
        self._notify(job.opening)

    def _enter(self, task: Task) -> RingJob:
        """Give a job its place; raises JobError, ContextOverflowError, or whatever a chat template raises."""
        if self._given_up is not None:
            raise self._given_up
        if task.draft is not None:
            raise _no_drafts(self._seat)
        prompt = self._front.tokenize(task.messages)
        context = self._seat.config.context
        room = context - len(prompt)
        if room < 1:
            raise ContextOverflowError.of(len(prompt), context)
        if task.sampling.grammar is not None or task.sampling.top_logprobs:
            raise JobError("a ring holds no answer to a grammar, and tells the log-probabilities of drawn tokens alone")
        if task.sampling.ignore_eos:
            raise JobError("a ring ends an answer where the model does; leave out ignore_eos")
        drawing = Drawing(task.sampling.seed, task.sampling.temperature, task.sampling.top_p)
        writer = Writer(self._front.piece, task.sampling.stop)
        sample = self._schedule.begin(next(self._numbers), prompt)
        self._look_for_room()
        now = self._seat.config.clock.now()
        self._log.emit("sampled", job=task.job, sample=sample.number)
        return RingJob(task, sample, len(prompt), min(task.sampling.max_tokens, room), drawing, writer, now)

    def _stop(self, job: str) -> None:
        for number in [number for number, known in self._jobs.items() if known.task.job == job]:
            self._finish(number, CancelledJobError(ABANDONED))

    def _finish(self, number: int, outcome: Completion | JobError) -> None:
        """End a sample, and free its place on all stages."""
        job = self._jobs.pop(number)
        self._schedule.end(number)
        self._notify(Freeing([number]))
        self._look_for_room()
        self._conclude(job.task, outcome)

    def _conclude(self, task: Task, outcome: Completion | JobError) -> None:
        self._ended(task, outcome)
        self._settle(task, outcome)

    def _look_for_room(self) -> None:
        if self._schedule.room:
            self._room.set()
        else:
            self._room.clear()

    # --- what goes round ----------------------------------------------------------------------------------------------

    async def _feed(self) -> None:
        await self._whole.wait()
        if self._pattern.schedule == "auto":
            await self._tune()
        self._room.set()
        while True:
            await self._whole.wait()
            message = self._next()
            if message is not None:
                await self._send(message)
            else:
                self._something.clear()
                await self._something.wait()

    async def _tune(self) -> None:
        """Measure which groups are best, and make them; one sample at a time if a stage cannot compute even that."""
        try:
            choice = await self._rehearse()
        except CannotComputeError as error:
            self._log.emit("tuning_failed", reason=str(error))
            self._schedule = Schedule(1, 1, self._pattern.chunk)
        else:
            self._log.emit("tuned", **asdict(choice))
            self._schedule = Schedule(choice.groups, choice.batch, self._pattern.chunk)
        finally:
            self._rehearsal = None

    async def _rehearse(self) -> Choice:
        """The choice of the first rehearsal during which the ring stays whole; raises CannotComputeError."""
        while True:
            await self._whole.wait()
            self._rehearsal = Rehearsal(self._take_numbers(), self._front, self._send, self._seat.config.clock)
            with suppress(BrokenError):
                return await self._rehearsal.run()

    def _take_numbers(self) -> list[int]:
        return list(itertools.islice(self._numbers, self._pattern.samples))

    def _next(self) -> RingMessage | None:
        if self._notices:
            return self._notices.popleft()
        batch = self._schedule.next()
        return None if batch is None else Activations(batch.rows, self._front.embed(batch.tokens))

    async def _send(self, message: RingMessage) -> None:
        """Compute a message on the head's own stage, and send the result on."""
        rows = message.rows if isinstance(message, Activations) else ()
        due = max((self._jobs[row.sample].due for row in rows if row.sample in self._jobs), default=None)
        frame = await self._hop.compute(Frame(self._epoch, message), due)
        if frame is not None:
            self._hop.send(frame)

    def _notify(self, message: RingMessage) -> None:
        self._notices.append(message)
        self._something.set()

    # --- what comes home ----------------------------------------------------------------------------------------------

    def _receive(self, frame: Frame) -> None:
        try:
            self._take_home(frame)
        except FrameError as error:
            self._hop.reject(error)

    def _take_home(self, frame: Frame) -> None:
        if frame.epoch > self._epoch:
            raise FrameError(f"it is of epoch {frame.epoch}, and this is {self._epoch}")
        if frame.epoch < self._epoch:
            return
        match frame.message:
            case Reset():
                self._close()
            case message if self._rehearsal is not None and not isinstance(message, Loss):
                self._rehearsal.take(message)
            case Loss(stage) if stage < len(self._pattern.ring):
                self._break(stage)
            case Failing(samples, reason):
                for number in self._known(samples):
                    self._finish(number, JobError(reason))
            case Tokens(rows, tokens, logprobs):
                self._add(rows, tokens, logprobs)
            case message:
                raise FrameError(f"{type(message).__name__} is nothing for a head")

    def _known(self, samples: Sequence[int]) -> Sequence[int]:
        if unknown := [number for number in samples if number not in self._jobs]:
            raise FrameError(f"sample {unknown[0]} is unknown")
        return samples

    def _add(self, rows: Sequence[Row], tokens: Sequence[int], logprobs: Sequence[float]) -> None:
        """Add each token to its sample."""
        self._known([row.sample for row in rows])
        if early := [row for row in rows if not self._schedule.awaits(row)]:
            raise FrameError(f"no token of sample {early[0].sample} is due at {early[0].position}")
        drawn = list(self._schedule.drawn(rows, tokens))
        for (sample, token), logprob in zip(drawn, logprobs, strict=True):
            self._jobs[sample.number].logprobs.append(logprob)
            self._jobs[sample.number].due = self._seat.config.clock.now()
            self._advance(self._jobs[sample.number], token)
        self._something.set()

    def _advance(self, job: RingJob, token: int) -> None:
        if len(job.drawn) == 1:
            self._log.emit("first_token", job=job.task.job)
        ended = self._front.ends(token)
        if not ended:
            job.tell(job.writer.add(token))
        if ended or job.writer.stopped or len(job.drawn) == job.limit:
            job.tell(job.writer.finish())
            self._finish(job.sample.number, self._completion(job, ended))

    def _completion(self, job: RingJob, ended: bool) -> Completion:
        drawn = job.drawn[:-1] if ended else job.drawn
        told = [] if job.task.sampling.top_logprobs is None else zip(drawn, job.logprobs, strict=False)
        return Completion(
            job.writer.text,
            job.prompt,
            len(drawn),
            ended or job.writer.stopped,
            LogProbabilities.of(job.logprobs[: len(drawn)]),
            tuple(drawn),
            tuple(TokenLogProbability(self._front.piece(token), logprob) for token, logprob in told),
        )

    # --- when the ring breaks -----------------------------------------------------------------------------------------

    def _lose(self) -> None:
        """Break the ring: the node before the head has fallen silent."""
        self._break(self._hop.before)

    def _break(self, lost: int) -> None:
        if self._whole.is_set():
            self._log.emit("ring_broken", peer=self._pattern.ring[lost])
            self._lost = lost
            self._whole.clear()
            self._broken.set()
            if self._rehearsal is not None:
                self._rehearsal.interrupt()

    async def _mend(self) -> None:
        while True:
            await self._broken.wait()
            # By the clock it is above those that the head was in before it was started again, too.
            self._epoch = max(self._epoch + 1, int(self._seat.config.clock.now() * _EPOCHS))
            await self._close_again()

    async def _close_again(self) -> None:
        """Send resets round until one comes home. After ``patience``, samples fail, and so do new ones."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while self._broken.is_set():
            await self._send(Reset(self._missing))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pattern.detect):
                    await self._whole.wait()
            waited = loop.time() - begin
            if self._broken.is_set() and self._pattern.take_over is not None and waited > self._pattern.take_over:
                self._do_without_lost()
            if self._broken.is_set() and waited > self._pattern.patience:
                self._give_up()

    def _do_without_lost(self) -> None:
        """Close the ring without the lost stage, if the other nodes have room for its layers."""
        missing = () if self._lost is None else (self._lost,)
        if not self._missing and missing and self._seat.can_do_without(missing):
            self._log.emit("taken_over", peer=self._pattern.ring[missing[0]])
            self._missing = missing
            self._epoch += 1

    def _close(self) -> None:
        """Resume: a reset has come home, so all stages are there and have forgotten all samples."""
        if not self._broken.is_set():
            return  # a reset that was sent twice
        self._log.emit("ring_closed", epoch=self._epoch, samples=len(self._jobs))
        self._schedule.restart()
        self._notices = deque(job.opening for job in self._jobs.values())
        for job in self._jobs.values():
            job.due = self._seat.config.clock.now()
        self._given_up = None
        self._broken.clear()
        self._whole.set()
        self._something.set()

    def _give_up(self) -> None:
        self._given_up = JobError(f"the ring has been broken for more than {self._pattern.patience:g}s")
        for number in list(self._jobs):
            self._finish(number, self._given_up)


def _no_drafts(seat: Seat) -> JobError:
    return JobError(f"a ring verifies no drafts; {seat.config.name} is the head of one")
