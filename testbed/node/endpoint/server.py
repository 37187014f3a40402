"""A foreign server as a model: requests through the companion, what comes back, and what goes wrong."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from testbed.core.clock import REAL_TIME, Clock
from testbed.node.config import EndpointOptions
from testbed.node.endpoint.wire import (
    DATA,
    DONE,
    OF_COMPANION,
    PATH,
    Choice,
    Failure,
    Part,
    RemoteError,
    RemoteRequest,
    StreamOptions,
    Usage,
    lines_of,
)
from testbed.node.engine.model import OnText
from testbed.node.engine.slowness import Slowness
from testbed.node.event_log import EventWriter
from testbed.node.transport.http import UnixClient
from testbed.patterns.participant import Completion, JobError, LogProbabilities, TokenLogProbability

_FIRST_WAIT: Final = 1.0  # seconds until a server is asked again that is busy and does not say for how long


class EndpointError(JobError):
    """A server gave no completion; ``kind`` names why."""

    def __init__(self, message: str, kind: Failure = "failed") -> None:
        super().__init__(message)
        self.kind = kind


class _BusyError(EndpointError):
    """The server asks to come again, after ``seconds`` where it says so."""

    def __init__(self, message: str, seconds: float | None) -> None:
        super().__init__(message, "rate_limited")
        self.seconds = seconds


@dataclass
class _Writing:
    """An answer as it comes in, stripped of white space around it."""

    on_text: OnText
    text: str = ""
    told: int = 0
    finish: str | None = None
    usage: Usage | None = None
    tokens: list[TokenLogProbability] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Take in a part of the answer."""
        self.usage = part.usage or self.usage
        for choice in part.choices[:1]:
            self.text += choice.text
            self.finish = choice.finish_reason or self.finish
            self.tokens += _tokens_of(choice)
        visible = self.text.strip()
        if len(visible) > self.told:
            new, self.told = visible[self.told :], len(visible)
            self.on_text(new)

    @property
    def completion(self) -> Completion:
        """What has come; raises EndpointError for an answer that is not whole."""
        if self.finish is None:
            raise EndpointError("the server ended its answer in the middle", "broken_off")
        if self.usage is None:
            raise EndpointError("the server does not say how many tokens it read and wrote")
        return Completion(
            self.text.strip(),
            self.usage.prompt_tokens,
            self.usage.completion_tokens,
            self.finish != "length",
            LogProbabilities.of([token.logprob for token in self.tokens]),
            token_logprobs=tuple(self.tokens),
        )


@dataclass(frozen=True)
class _Start:
    """The beginning of a job: on the host's clock, by which the server works, and on the run's."""

    real: float
    virtual: float

    @classmethod
    def now(cls, clock: Clock) -> "_Start":
        return cls(REAL_TIME.now(), clock.now())


_Arrivals = asyncio.Queue[tuple[float, Part | EndpointError] | None]
"""What came from a server, each with the moment of its arrival on the host's clock; at last None, or an error."""


class Server:
    """The server behind ``client``, at the pace of the run's clock.

    ``streams`` says whether answers come as they are written. The seconds that the server takes pass on the run's clock
    as well: in a dilated run, and under the fault `slow`, what it sends is held back.
    """

    def __init__(
        self, client: UnixClient, options: EndpointOptions, log: EventWriter, clock: Clock, slowness: Slowness
    ) -> None:
        self._client = client
        self._patience = options.patience
        self._log = log
        self._clock = clock
        self._slowness = slowness
        self.streams = True

    async def rehearse(self, request: RemoteRequest) -> None:
        """Ask once, to see that the server answers; raises EndpointError.

        A server that tells no numbers of tokens in a stream, or knows no such option, is asked without streams.
        """
        try:
            await self._asked(request, _Writing(lambda _: None), _Start.now(self._clock))
        except EndpointError as error:
            if error.kind not in ("refused", "failed"):
                raise
            self.streams = False
            await self._asked(request, _Writing(lambda _: None), _Start.now(self._clock))

    async def complete(self, job: str, request: RemoteRequest, on_text: OnText) -> Completion:
        """The completion of a job; raises EndpointError, or what ``on_text`` raises.

        A server that is busy is asked again when it says, for as long as the node's patience lasts in sum.
        """
        start, waited = _Start.now(self._clock), 0.0
        for attempt in itertools.count():
            try:
                return await self._asked(request, _Writing(on_text), start)
            except _BusyError as busy:
                seconds = _FIRST_WAIT * 2**attempt if busy.seconds is None else busy.seconds
                waited += seconds
                if waited > self._patience:
                    raise EndpointError(f"{busy}, for longer than {self._patience:g} s", busy.kind) from None
                self._log.emit("endpoint_waits", job=job, seconds=seconds, reason=str(busy))
                await asyncio.sleep(self._clock.virtual(seconds))
        raise AssertionError("never reached: the count has no end")

    async def _asked(self, request: RemoteRequest, writing: "_Writing", start: _Start) -> Completion:
        if self.streams:
            request = request.model_copy(update={"stream": True, "stream_options": StreamOptions()})
        arrived: _Arrivals = asyncio.Queue()
        reading = asyncio.create_task(self._read(request, arrived))
        try:
            while (entry := await arrived.get()) is not None:
                moment, part = entry
                await self._hold_back(start, moment - start.real)
                if isinstance(part, EndpointError):
                    raise part
                writing.add(part)
        finally:
            reading.cancel()
        return writing.completion

    async def _hold_back(self, start: _Start, seconds: float) -> None:
        """Wait until as many virtual seconds have passed as the server took, times the fault's factor."""
        left = start.virtual + seconds * self._slowness.factor() - self._clock.now()
        if left > 0:
            await asyncio.sleep(left)

    async def _read(self, request: RemoteRequest, arrived: "_Arrivals") -> None:
        """Put what comes into ``arrived``, with the moment of its arrival."""
        try:
            async for part in self._parts(request):
                arrived.put_nowait((REAL_TIME.now(), part))
            arrived.put_nowait(None)
        except EndpointError as error:
            arrived.put_nowait((REAL_TIME.now(), error))
        except ValueError as error:
            arrived.put_nowait((REAL_TIME.now(), EndpointError(str(error))))
        except ConnectionError as error:
            lost = EndpointError(f"the companion on the host does not answer: {error}", "unreachable")
            arrived.put_nowait((REAL_TIME.now(), lost))

    async def _parts(self, request: RemoteRequest) -> AsyncIterator[Part]:
        body = request.model_dump_json(exclude_none=True).encode()
        async with self._client.posting(PATH, body) as response:
            if response.status != 200:
                raise _refusal(response.status, await response.read(), response.headers.get("Retry-After"))
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                yield _whole(Part.of(await response.read()))
                return
            async for line in lines_of(response.chunks()):
                if not line.startswith(DATA):
                    continue
                data = line.removeprefix(DATA).strip()
                if data == DONE:
                    return
                yield _whole(Part.of(data))


def _whole(part: Part) -> Part:
    """A part that is no error; raises EndpointError."""
    if part.error is not None:
        raise EndpointError(part.error.message, _named(part.error.code) or "failed")
    return part


def _refusal(status: int, body: bytes, retry_after: str | None) -> EndpointError:
    """The error that a response other than 200 is. The companion gives ``retry_after`` in seconds."""
    try:
        error = Part.of(body).error or RemoteError()
    except ValueError:
        error = RemoteError()
    if kind := _named(error.code):
        return EndpointError(error.message, kind)
    if status == 429 or (status == 503 and retry_after is not None):
        return _BusyError(error.message, None if retry_after is None else float(retry_after))
    return EndpointError(error.message, "refused" if status < 500 else "failed")


def _named(code: str | None) -> Failure | None:
    """The failure that the companion names; None for a server's own code."""
    return next((kind for kind in OF_COMPANION if kind == code), None)


def _tokens_of(choice: Choice) -> list[TokenLogProbability]:
    told = (choice.logprobs and choice.logprobs.content) or []
    return [
        TokenLogProbability(
            token.piece, token.logprob, tuple((other.piece, other.logprob) for other in token.top_logprobs)
        )
        for token in told
    ]
